"""What is missing or wrong in an installation, and how to mend it.

Looks, and changes nothing: it places no call, speaks no word and spends no money. Each account is asked one cheap
question with a short time-out, all at once, so that a machine without a network gets its answer as well.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec
from dotenv import dotenv_values

from voice_agent.errors import CarrierError, SettingsError
from voice_agent.integrations.twilio.service import TwilioService
from voice_agent.settings import AREAS, Settings, is_loopback, load_settings, variable_name

TIMEOUT_S = 5.0
LEAST_FREE_BYTES = 1_000_000_000
"""About 17 hours of recordings: two channels of 8,000 bytes a second."""


class State(StrEnum):
    """How a finding stands."""

    GOOD = "ok"
    NOTE = "note"
    FAULT = "FAULT"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    subject: str
    state: State
    what: str
    remedy: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether calls will fail because of it."""
        return self.state is State.FAULT


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's account, and a question that only a working key gets answered."""

    name: str
    variable: str
    url: str
    headers: dict[str, str]


def examine() -> list[Finding]:
    """Look at everything. Settings that cannot be used are the only finding then: the rest depends on them."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return [Finding("settings", State.FAULT, line, "see docs/settings.md") for line in str(error).splitlines()]
    findings = [Finding("settings", State.GOOD, "can be used"), *_unknown_variables(Path(".env"))]
    findings += _local(settings)
    return findings + asyncio.run(_remote(settings))


def report(findings: Iterable[Finding]) -> str:
    """Return the findings as text, one on a line, the remedy beneath."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<6}{finding.subject}: {finding.what}")
        if finding.remedy:
            lines.append(f"      {finding.remedy}")
    return "\n".join(lines)


def _unknown_variables(env_file: Path) -> list[Finding]:
    """Catch misspelled names in the file; in the environment anything may stand."""
    known = {variable_name(area, field) for area in AREAS.values() for field in area.model_fields}
    unknown = sorted({name.upper() for name in dotenv_values(env_file)} - known) if env_file.is_file() else []
    return [
        Finding(".env", State.NOTE, f"{name} is no setting of ours", "is it misspelled? docs/settings.md lists them")
        for name in unknown
    ]


def _local(settings: Settings) -> list[Finding]:
    return [*_public_address(settings), *_speech_libraries(settings), _folder(settings.server.data_dir)]


def _public_address(settings: Settings) -> list[Finding]:
    url = settings.server.public_base_url
    has_twilio = settings.twilio.has_token
    if not url and has_twilio:
        remedy = "set it to the https:// address of this server (a tunnel will do)"
        return [Finding("PUBLIC_BASE_URL", State.FAULT, "is empty: Twilio cannot reach this server", remedy)]
    if url and has_twilio and is_loopback(urlsplit(url).hostname or ""):
        remedy = "fine for the sandbox; for real calls set the https:// address of this server"
        return [Finding("PUBLIC_BASE_URL", State.NOTE, "names this machine: Twilio cannot reach it", remedy)]
    if not url:
        return [Finding("PUBLIC_BASE_URL", State.NOTE, "is empty: only the sandbox can call")]
    return [Finding("PUBLIC_BASE_URL", State.GOOD, "has the right form")]


def _speech_libraries(settings: Settings) -> list[Finding]:
    wanted = {
        "espeakng_loader": ("TEXT_TO_SPEECH is local", settings.text_to_speech == "local", "local"),
        "pocketsphinx": ("SPEECH_TO_TEXT is local", settings.speech_to_text == "local", "local"),
        "onnxruntime": ("VOICE_ACTIVITY is silero", settings.pipeline.voice_activity == "silero", "vad"),
    }
    findings = []
    for module, (reason, is_wanted, extra) in wanted.items():
        if not is_wanted:
            continue
        if find_spec(module):
            findings.append(Finding(module, State.GOOD, "is installed"))
        else:
            remedy = f"pip install 'voice-agent[{extra}]'"
            findings.append(Finding(module, State.FAULT, f"is not installed and {reason}", remedy))
    return findings


def _folder(folder: Path) -> Finding:
    subject = f"DATA_DIR ({folder})"
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(subject, State.FAULT, "cannot be written to", f"give this user write access to {existing}")
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < LEAST_FREE_BYTES:
        remedy = "recordings take 1 MB a minute: free some space or move DATA_DIR"
        return Finding(subject, State.FAULT, f"has {free_bytes / 1e6:,.0f} MB left", remedy)
    return Finding(subject, State.GOOD, f"can be written to, {free_bytes / 1e9:,.0f} GB free")


async def _remote(settings: Settings) -> list[Finding]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        questions = [_ask(session, account) for account in _accounts(settings)]
        return list(await asyncio.gather(_twilio(settings), *questions))


def _accounts(settings: Settings) -> list[Account]:
    """Return the accounts that there are keys for."""
    openai, google, elevenlabs = settings.openai, settings.google, settings.elevenlabs
    accounts = [
        Account(
            name="OpenAI",
            variable="OPENAI",
            url=f"{openai.base_url}/models",
            headers={"Authorization": f"Bearer {openai.api_key.get_secret_value()}"} if openai.has_key else {},
        ),
        Account(
            name="Google",
            variable="GOOGLE",
            url=f"{google.base_url}/v1beta/models?pageSize=1",
            headers={"x-goog-api-key": google.api_key.get_secret_value()} if google.has_key else {},
        ),
        Account(
            name="ElevenLabs",
            variable="ELEVENLABS",
            url=f"{elevenlabs.base_url}/v1/models",
            headers={"xi-api-key": elevenlabs.api_key.get_secret_value()} if elevenlabs.has_key else {},
        ),
    ]
    return [account for account in accounts if account.headers]


async def _ask(session: aiohttp.ClientSession, account: Account) -> Finding:
    try:
        async with session.get(account.url, headers=account.headers, allow_redirects=False) as answer:
            status, text = answer.status, await answer.text(errors="replace")
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        reason = "no answer" if isinstance(error, TimeoutError) else type(error).__name__
        remedy = f"check the network and {account.variable}_BASE_URL"
        return Finding(account.name, State.FAULT, f"cannot be reached ({reason})", remedy)
    return _judged(account, status, text)


def _judged(account: Account, status: int, text: str) -> Finding:
    # ElevenLabs' keys can be limited to some uses; listing models need not be one of them.
    if status < 300 or (status == 401 and "missing_permissions" in text):
        return Finding(account.name, State.GOOD, "the key is accepted")
    # Google answers 400 to a key that it does not know.
    if status in {400, 401, 403}:
        remedy = f"put a valid key into {account.variable}_API_KEY"
        return Finding(account.name, State.FAULT, f"the key is refused (HTTP {status})", remedy)
    if status == 429:
        return Finding(
            account.name, State.FAULT, "the limit or the credit is used up (HTTP 429)", "look at the account"
        )
    remedy = f"check {account.variable}_BASE_URL, or try again later"
    return Finding(account.name, State.FAULT, f"answers HTTP {status}", remedy)


async def _twilio(settings: Settings) -> Finding:
    if not settings.twilio.has_token:
        return Finding("Twilio", State.NOTE, "no account: only the sandbox can call")
    try:
        async with TwilioService(settings.twilio, timeout_s=TIMEOUT_S) as service:
            account = await service.fetch_account()
    except CarrierError as error:
        if error.status in {401, 403, 404}:
            remedy = "check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, and that both belong to TWILIO_BASE_URL's region"
            return Finding("Twilio", State.FAULT, f"the credentials are refused (HTTP {error.status})", remedy)
        return Finding("Twilio", State.FAULT, str(error), "check the network and TWILIO_BASE_URL")
    if account.status != "active":
        return Finding("Twilio", State.FAULT, f"the account is {account.status}", "open it in Twilio's console")
    if account.kind == "Trial":
        return Finding("Twilio", State.NOTE, "a trial account: calls only to and from verified numbers")
    return Finding("Twilio", State.GOOD, "the credentials are accepted")
