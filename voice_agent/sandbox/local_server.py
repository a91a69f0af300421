"""A server of the sandbox's own: `voice-agent serve` as a child process that needs no account.

It sees nothing of the user's environment or `.env`: it gets the local speech and the scripted dialogue, a data folder
and the sandbox carrier's credentials. It ends with the context, on every way out; should this process be killed, the
server notices that its standard input has closed and ends by itself. What it logs is in `server.log`.
"""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import msgspec

from voice_agent.errors import SandboxServerError
from voice_agent.sandbox.carrier import Carrier

START_S = 60.0
"""Longest start. It takes two to four seconds; on a cold disk with nothing compiled, ten times that."""

COMMAND_S = 60.0
"""Longest command: as long as a start, which loads the same."""

END_S = 12.0
"""Longest end: uvicorn gives live connections ten seconds."""

LOG_NAME = "server.log"
LOG_LINES = 15
"""Of the server's log, shown where it does not start."""

INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH")
"""All that the server gets of this process's environment: whatever configures the package or an SDK stays outside."""

_ADDRESS = re.compile(rb"https?://[\w.:\[\]-]+\w")


class LocalServer(msgspec.Struct, frozen=True):
    """A server that is ready for calls."""

    base_url: str
    data_dir: Path
    """Absolute: the folder of its calls and its log."""

    environment: dict[str, str]
    """All that it knows of the world, its settings among it."""

    @property
    def voice_url(self) -> str:
        """The webhook for incoming calls."""
        return f"{self.base_url}/twilio/voice"

    @property
    def log_file(self) -> Path:
        """What it logs."""
        return self.data_dir / LOG_NAME

    @property
    def status_url(self) -> str:
        """The webhook that is told of the end of calls."""
        return f"{self.base_url}/twilio/status"

    async def command(self, *arguments: str) -> str:
        """Run `voice-agent ARGUMENTS` beside the server, with its settings; return what it prints.

        Raises SandboxServerError where it fails or takes too long.
        """
        process = await _spawn(self.data_dir, self.environment, *arguments, stderr=PIPE)
        try:
            async with asyncio.timeout(COMMAND_S):
                output, complaint = await process.communicate()
        except TimeoutError:
            raise SandboxServerError(f"`voice-agent {arguments[0]}` takes longer than {COMMAND_S:.0f} s") from None
        finally:
            await _kill(process)
        if process.returncode:
            reason = complaint.decode("utf-8", "replace").strip()
            raise SandboxServerError(f"`voice-agent {arguments[0]}`: exit code {process.returncode}: {reason}")
        return output.decode().strip()


@asynccontextmanager
async def local_server(data_dir: Path, carrier: Carrier) -> AsyncIterator[LocalServer]:
    """Run a server over `data_dir`, absolute, that belongs to the account of `carrier`, which must have been started.

    Raises SandboxServerError with the end of the server's log where it does not start.
    """
    log_file = data_dir / LOG_NAME
    settings = environment(data_dir, carrier)
    with _opened(log_file) as log:
        process = await _spawn(data_dir, settings, "serve", "--port", "0", "--until-stdin-closes", stderr=log)
    try:
        yield LocalServer(await _address(process, log_file), data_dir, settings)
    finally:
        await _end(process)


def environment(data_dir: Path, carrier: Carrier) -> dict[str, str]:
    """Return the server's whole environment."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {
        "DATA_DIR": str(data_dir),
        "SPEECH_TO_TEXT": "local",
        "TEXT_TO_SPEECH": "local",
        "TWILIO_ACCOUNT_SID": carrier.settings.account_sid,
        "TWILIO_AUTH_TOKEN": carrier.settings.auth_token,
        "TWILIO_BASE_URL": carrier.base_url,
    }


def _opened(log_file: Path) -> IO[bytes]:
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        return log_file.open("wb")
    except OSError as error:
        raise SandboxServerError(f"{log_file} cannot be written: {error.strerror}") from error


async def _spawn(data_dir: Path, settings: dict[str, str], *arguments: str, stderr: IO[bytes] | int) -> Process:
    # Settings are read from `.env` in the working directory too: the data folder has none. -P keeps that folder out of
    # Python's search path, and a session of its own keeps Ctrl-C to this process, which then ends the server in order.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "voice_agent", *arguments),
        cwd=data_dir,
        env=settings,
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        start_new_session=True,
    )


async def _address(process: Process, log_file: Path) -> str:
    """Return the address that the server announces on its standard output once it is ready."""
    if process.stdout is None:
        raise ValueError("the process has no pipe as its standard output")
    try:
        async with asyncio.timeout(START_S):
            async for line in process.stdout:
                if found := _ADDRESS.search(line):
                    return found[0].decode()
            await process.wait()
        reason = f"it ended with exit code {process.returncode}"
    except TimeoutError:
        reason = f"it was not ready after {START_S:.0f} s"
    raise SandboxServerError(f"the server did not start: {reason}. The end of {log_file}:\n{_end_of(log_file)}")


def _end_of(log_file: Path) -> str:
    lines = log_file.read_text("utf-8", "replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:])


async def _end(process: Process) -> None:
    """End the server in order, by force where it takes too long or where waiting is interrupted."""
    try:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(END_S):
            await process.wait()
    except (TimeoutError, ProcessLookupError):
        pass
    finally:
        await _kill(process)


async def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
    if process.stdin is not None:
        process.stdin.close()
