"""The settings tree: read once from the environment (and `.env`), frozen, secrets typed as secrets.

`voice-agent settings` prints docs/settings.md from these classes: the description of a field is its documentation.
Nothing else in the package reads the environment. No message built here carries a value: a mistyped secret must not
reach a log.
"""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from voice_agent.errors import SettingsError

PLACEHOLDERS = frozenset({"changeme", "change-me", "your-key", "your_key", "xxx", "todo", "secret", "password", "..."})
"""Values that people leave in a copied example file; refused for every secret, in any letter case."""


def _real_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if text.lower() in PLACEHOLDERS or text.startswith("<"):
        raise ValueError("is a placeholder, not a real secret")
    return SecretStr(text)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be reached from this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("must be a plain address, without user, query or fragment")
    return value.rstrip("/")


def _public_base_url(value: str) -> str:
    if not value:
        return value
    url = _base_url(value)
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://: Twilio opens media sockets over TLS alone")
    return url


def _account_sid(value: str) -> str:
    if value and not re.fullmatch(r"AC[0-9a-fA-F]{32}", value):
        raise ValueError("must be AC followed by 32 hexadecimal digits")
    return value


Secret = Annotated[SecretStr, AfterValidator(_real_secret)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
OptionalBaseUrl = Annotated[str, AfterValidator(lambda value: value and _base_url(value))]
PublicBaseUrl = Annotated[str, AfterValidator(_public_base_url)]
AccountSid = Annotated[str, AfterValidator(_account_sid)]

_NO_SECRET = SecretStr("")

OPENAI_BASE_URL = "https://api.openai.com/v1"


class _Area(BaseSettings):
    """One area of the tree. Empty variables count as absent, so that `KEY=` in a file means the default."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )


class ServerSettings(_Area):
    """The process itself."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    public_base_url: PublicBaseUrl = Field(
        "",
        description="The https:// address at which Twilio reaches this server. Webhook signatures are checked over it. "
        "Empty: the address listened on, which only the sandbox can reach.",
    )
    data_dir: Path = Field(Path("data"), description="Folder of recordings, transcripts and event logs.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe log lines shown.")
    max_calls: int = Field(80, ge=1, description="Calls held at once; the next caller hears that all lines are busy.")
    agent_file: Path | None = Field(
        None, description="YAML file of the agent that answers. Empty: the demo's receptionist."
    )
    drain_s: float = Field(
        900.0, gt=0, description="Seconds that SIGTERM leaves to live calls; then each hears a goodbye and is ended."
    )
    secret_key: Secret = Field(
        _NO_SECRET,
        description="At least 32 characters, the same for every process: signs stream tickets, sign-in tokens and "
        "links to local files. Empty: one is made in DATA_DIR at the first start.",
    )


class TwilioSettings(_Area):
    """The telephone."""

    model_config = SettingsConfigDict(env_prefix="TWILIO_")

    account_sid: AccountSid = Field("", description="Account SID, AC followed by 32 hexadecimal digits.")
    auth_token: Secret = Field(_NO_SECRET, description="Auth token: checks webhook signatures and signs REST requests.")
    base_url: BaseUrl = Field(
        "https://api.twilio.com", description="REST address: a regional host, a proxy or the sandbox."
    )

    calls_per_second: float = Field(
        1.0, gt=0, le=100, description="Outbound calls begun a second: what the account allows. Twilio queues the rest."
    )

    @property
    def has_token(self) -> bool:
        """Whether an auth token is set."""
        return bool(self.auth_token.get_secret_value())


class OpenAISettings(_Area):
    """OpenAI, or anything that speaks its protocol."""

    model_config = SettingsConfigDict(env_prefix="OPENAI_")

    api_key: Secret = Field(_NO_SECRET, description="API key.")
    base_url: BaseUrl = Field(OPENAI_BASE_URL, description="REST address, `/v1` included.")
    transcription_model: str = Field(
        "gpt-live-transcribe", description="Realtime transcription model, where SPEECH_TO_TEXT=openai."
    )

    @property
    def has_key(self) -> bool:
        """Whether a key is set."""
        return bool(self.api_key.get_secret_value())

    @property
    def is_elsewhere(self) -> bool:
        """Whether the address is not OpenAI's own."""
        return self.base_url != OPENAI_BASE_URL


class GoogleSettings(_Area):
    """Google Gemini."""

    model_config = SettingsConfigDict(env_prefix="GOOGLE_")

    api_key: Secret = Field(_NO_SECRET, description="API key.")
    base_url: BaseUrl = Field("https://generativelanguage.googleapis.com", description="REST address.")

    @property
    def has_key(self) -> bool:
        """Whether a key is set."""
        return bool(self.api_key.get_secret_value())


class ElevenLabsSettings(_Area):
    """ElevenLabs speech, both directions."""

    model_config = SettingsConfigDict(env_prefix="ELEVENLABS_")

    api_key: Secret = Field(_NO_SECRET, description="API key.")
    base_url: BaseUrl = Field("https://api.elevenlabs.io", description="Address; a residency host or a double.")
    voice_id: str = Field("21m00Tcm4TlvDq8ikWAM", description="Voice where the agent names none.")
    fallback_voice_id: str = Field("", description="Voice asked where the first one fails.")
    tts_model: str = Field("eleven_flash_v2_5", description="Speech synthesis model.")
    stt_model: str = Field("scribe_v2_realtime", description="Speech recognition model.")

    @property
    def has_key(self) -> bool:
        """Whether a key is set."""
        return bool(self.api_key.get_secret_value())


class StorageSettings(_Area):
    """Where things are kept."""

    database_url: Secret = Field(
        _NO_SECRET,
        description="postgresql://… or sqlite:///…. Port 6543 counts as Supabase's transaction pooler, where nothing "
        "is prepared. Empty: SQLite in DATA_DIR.",
    )
    redis_url: Secret = Field(_NO_SECRET, description="Redis for what processes share: cache, limits, live events.")
    files: Literal["local", "supabase", "s3"] = Field("local", description="Where recordings and exports are kept.")
    files_bucket: str = Field("voice-agent", description="Bucket of Supabase Storage or S3; it must exist.")


class SupabaseSettings(_Area):
    """Supabase: sign-in and storage. Its Postgres is DATABASE_URL."""

    model_config = SettingsConfigDict(env_prefix="SUPABASE_")

    url: OptionalBaseUrl = Field("", description="Project address, https://….supabase.co.")
    secret_key: Secret = Field(_NO_SECRET, description="Secret key (sb_secret_…): storage, and nothing a browser sees.")
    publishable_key: str = Field("", description="Publishable key (sb_publishable_…): sign-in by the console.")
    jwt_secret: Secret = Field(_NO_SECRET, description="Legacy HS256 secret. Empty: the project's signing keys (JWKS).")


class S3Settings(_Area):
    """S3, or anything that speaks it."""

    model_config = SettingsConfigDict(env_prefix="S3_")

    endpoint_url: OptionalBaseUrl = Field("", description="Address; empty for Amazon's own.")
    region: str = Field("us-east-1", description="Region of the bucket.")
    access_key_id: str = Field("", description="Access key; empty for the machine's own role.")
    secret_access_key: Secret = Field(_NO_SECRET, description="Its secret.")


class AuthSettings(_Area):
    """Who may use the API."""

    model_config = SettingsConfigDict(env_prefix="AUTH_")

    provider: Literal["local", "supabase"] = Field(
        "local", description="Accounts of our own, or those of Supabase Auth (SUPABASE_URL)."
    )
    access_token_s: int = Field(900, ge=60, le=86_400, description="Seconds that a sign-in token of ours is good for.")
    refresh_token_days: int = Field(30, ge=1, le=365, description="Days after which one has to sign in again.")
    trusted_proxies: int = Field(
        0, ge=0, description="Reverse proxies in front: so many entries of X-Forwarded-For are believed."
    )


class JobsSettings(_Area):
    """Work in the background: uploads, deletions, reconciliation."""

    model_config = SettingsConfigDict(env_prefix="JOBS_")

    in_server: bool = Field(True, description="Whether `voice-agent serve` runs them; else `voice-agent worker` must.")
    slot: str = Field(
        "0",
        pattern=r"[a-z0-9-]{1,32}",
        description="Name of this process among those that run jobs, the same after a restart, no two alike at a time.",
    )
    at_once: int = Field(10, ge=1, le=100, description="Jobs that this process runs at a time.")


class SchedulerSettings(_Area):
    """How fast campaigns dial, and how many calls there may be at a time."""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_")

    max_calls: int = Field(
        0,
        ge=0,
        description="Calls at a time, people who call us included: what all servers together can hold. 0: MAX_CALLS, "
        "for one server.",
    )
    inbound_share: float = Field(
        0.2, ge=0, le=1, description="Of these, what campaigns leave free for people who call us."
    )
    organisation_calls: int = Field(
        0, ge=0, description="Calls at a time of one organisation that has no limit of its own. 0: any number."
    )
    agent_calls: int = Field(0, ge=0, description="Calls at a time of one agent, likewise. 0: any number.")


class CallsSettings(_Area):
    """What a new organisation may do, until its own settings say otherwise."""

    model_config = SettingsConfigDict(env_prefix="CALLS_")

    allowed_countries: str = Field(
        "", description="Countries that may be called, ISO 3166 codes with commas. Empty: none, calls come in only."
    )
    daily_spend_cap: float = Field(20.0, ge=0, description="Most that calls of one day may cost, in US dollars.")
    cost_per_minute: float = Field(
        0.15, gt=0, description="Assumed price of a minute, in US dollars: reserved before a call, settled after it."
    )
    retention_days: int = Field(90, ge=0, description="Days after which a call's data is deleted; 0 keeps it.")
    keep_carrier_recording: bool = Field(
        False, description="Whether Twilio's copy of its own recordings stays there once they are stored and verified."
    )


def _networks(value: str) -> str:
    try:
        for part in value.split(","):
            if part.strip():
                ip_network(part.strip())
    except ValueError:
        raise ValueError("must be networks such as 10.1.0.0/16, with commas between them") from None
    return value


class ImportSettings(_Area):
    """Where imports of contacts may fetch files from."""

    model_config = SettingsConfigDict(env_prefix="IMPORTS_")

    allow_http: bool = Field(False, description="Whether addresses may begin with http://, too.")
    allowed_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        description="Networks, in CIDR form with commas, whose addresses may be fetched from although they are not "
        "public. Empty: none, so that nobody reaches this machine's own network through an import.",
    )


class ComplianceSettings(_Area):
    """Who may be called, for what and when: docs/compliance.md."""

    model_config = SettingsConfigDict(env_prefix="COMPLIANCE_")

    packs_dir: Path | None = Field(
        None, description="Folder of newer rule packs: of a jurisdiction the one with the highest version is in force."
    )


class PipelineSettings(_Area):
    """Who listens, thinks and speaks."""

    speech_to_text: Literal["auto", "elevenlabs", "openai", "local"] = Field(
        "auto", description="Speech recognition. auto: ElevenLabs with a key, else OpenAI with a key, else local."
    )
    text_to_speech: Literal["auto", "elevenlabs", "local"] = Field(
        "auto", description="Speech synthesis. auto: ElevenLabs with a key, else local."
    )
    language_model: str = Field(
        "",
        description="LangChain's provider:model, such as openai:MODEL or google_genai:MODEL. "
        "Empty: the scripted dialogue of the demo. No default: models are withdrawn too often.",
    )
    fallback_model: str = Field("", description="provider:model asked where LANGUAGE_MODEL fails or is slow.")
    voice_activity: Literal["auto", "silero", "webrtc"] = Field(
        "auto", description="Voice activity model. auto: Silero where onnxruntime is installed, else WebRTC's."
    )


class Settings(BaseModel):
    """Everything, read once. Constructing it reads the environment; `load_settings` also explains what is wrong."""

    model_config = {"frozen": True, "hide_input_in_errors": True}

    server: ServerSettings = Field(default_factory=ServerSettings)
    twilio: TwilioSettings = Field(default_factory=TwilioSettings)
    openai: OpenAISettings = Field(default_factory=OpenAISettings)
    google: GoogleSettings = Field(default_factory=GoogleSettings)
    elevenlabs: ElevenLabsSettings = Field(default_factory=ElevenLabsSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    supabase: SupabaseSettings = Field(default_factory=SupabaseSettings)
    s3: S3Settings = Field(default_factory=S3Settings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    jobs: JobsSettings = Field(default_factory=JobsSettings)
    scheduler: SchedulerSettings = Field(default_factory=SchedulerSettings)
    calls: CallsSettings = Field(default_factory=CallsSettings)
    compliance: ComplianceSettings = Field(default_factory=ComplianceSettings)
    imports: ImportSettings = Field(default_factory=ImportSettings)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)

    @property
    def speech_to_text(self) -> Literal["elevenlabs", "openai", "local"]:
        """Who recognises speech, once `auto` has been decided."""
        if self.pipeline.speech_to_text != "auto":
            return self.pipeline.speech_to_text
        if self.elevenlabs.has_key:
            return "elevenlabs"
        return "openai" if self.openai.has_key else "local"

    @property
    def text_to_speech(self) -> Literal["elevenlabs", "local"]:
        """Who speaks, once `auto` has been decided."""
        if self.pipeline.text_to_speech != "auto":
            return self.pipeline.text_to_speech
        return "elevenlabs" if self.elevenlabs.has_key else "local"

    @model_validator(mode="after")
    def _has_what_it_chose(self) -> Self:
        """Refuse a choice that cannot work: it would fail in the first call instead."""
        if problems := [*self._missing_keys(), *self._unknown_models()]:
            raise ValueError("; ".join(problems))
        return self

    def _missing_keys(self) -> list[str]:
        pipeline, missing = self.pipeline, []
        models = (pipeline.language_model, pipeline.fallback_model)
        if "elevenlabs" in {pipeline.speech_to_text, pipeline.text_to_speech} and not self.elevenlabs.has_key:
            missing.append("ELEVENLABS_API_KEY is needed where SPEECH_TO_TEXT or TEXT_TO_SPEECH is elevenlabs")
        needs_openai = pipeline.speech_to_text == "openai" or any(model.startswith("openai:") for model in models)
        # Servers that speak OpenAI's protocol on another address often take no key.
        if needs_openai and not self.openai.has_key and not self.openai.is_elsewhere:
            missing.append("OPENAI_API_KEY is needed where SPEECH_TO_TEXT is openai or a model begins with openai:")
        if any(model.startswith("google_genai:") for model in models) and not self.google.has_key:
            missing.append("GOOGLE_API_KEY is needed where a model begins with google_genai:")
        if bool(self.twilio.account_sid) != self.twilio.has_token:
            missing.append("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are needed together")
        if "supabase" in {self.storage.files, self.auth.provider} and not self.supabase.url:
            missing.append("SUPABASE_URL is needed where FILES or AUTH_PROVIDER is supabase")
        if self.storage.files == "supabase" and not self.supabase.secret_key.get_secret_value():
            missing.append("SUPABASE_SECRET_KEY is needed where FILES is supabase")
        return missing

    def _unknown_models(self) -> list[str]:
        models = {"LANGUAGE_MODEL": self.pipeline.language_model, "FALLBACK_MODEL": self.pipeline.fallback_model}
        return [
            f"{name} must have the form provider:model"
            for name, model in models.items()
            if model and not all(model.partition(":")[::2])
        ]


AREAS: dict[str, type[_Area]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, _Area)
}
"""The areas by their name in the tree, in the order of the table."""


def variable_name(area: type[_Area], field: str) -> str:
    """Return the environment variable that a field is read from."""
    return f"{area.model_config.get('env_prefix', '')}{field}".upper()


def load_settings() -> Settings:
    """Read the whole tree.

    Raises SettingsError that names every variable at fault, one on a line, and why; never a value.
    """
    areas: dict[str, _Area] = {}
    problems: list[str] = []
    for name, area in AREAS.items():
        try:
            areas[name] = area()
        except ValidationError as error:
            problems += [f"{variable_name(area, str(e['loc'][0]))} {_reason(e['msg'])}" for e in error.errors()]
    if problems:
        raise SettingsError("\n".join(problems))
    try:
        return Settings.model_validate(areas)
    except ValidationError as error:
        raise SettingsError("\n".join(_reason(e["msg"]).replace("; ", "\n") for e in error.errors())) from None


def _reason(message: str) -> str:
    reason = message.removeprefix("Value error, ")
    return reason.replace("Input should be", "must be").replace("Input", "the value")


def settings_table() -> str:
    """Return docs/settings.md: one table for each area, from the classes above."""
    sections = [_section(area) for area in AREAS.values()]
    return "\n".join([_PREAMBLE, *sections])


_PREAMBLE = """# Settings

Read once at the start, from environment variables or from a file `.env` in the working directory; the environment
wins. An empty variable counts as absent. `voice-agent doctor` says what is missing or wrong and how to mend it.

This page is generated: `make docs` writes it from voice_agent/settings.py.
"""


def _section(area: type[_Area]) -> str:
    title = (area.__doc__ or "").strip().splitlines()[0].rstrip(".")
    rows = [
        f"| `{variable_name(area, name)}` | {_default(field)} | {_meaning(field)} |"
        for name, field in area.model_fields.items()
    ]
    return "\n".join([f"## {title}", "", "| variable | default | meaning |", "|---|---|---|", *rows, ""])


def _default(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return "" if value in ("", None) else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    choices = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str)]
    return f"{field.description} One of {', '.join(choices)}." if choices else str(field.description)
