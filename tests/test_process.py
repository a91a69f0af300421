"""What every process that serves has: its address, its end with its parent, and little else loaded."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voice_agent.process import end_with_stdin, listen
from voice_agent.settings import ServerSettings


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_address_is_the_one_it_listens_on() -> None:
    listener, url = listen(ServerSettings(port=0))
    assert url == f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_the_public_address_is_what_was_configured() -> None:
    listener, url = listen(ServerSettings(port=0, public_base_url="https://calls.example.org"))
    listener.close()
    assert url == "https://calls.example.org"


def test_a_worker_whose_parent_is_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [b"x", b""]
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "read", lambda *_: pieces.pop(0))
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    end_with_stdin()
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_the_log_of_an_error_has_no_variables() -> None:
    script = (
        "import structlog; from voice_agent.process import configure_logging; configure_logging('INFO')\n"
        "def fail(number): raise ValueError('no such call')\n"
        "try: fail('+34' + '612345678')\n"
        "except ValueError: structlog.get_logger().exception('failed')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    told = json.loads(done.stderr)
    assert told["exception"][0]["exc_value"] == "no such call"
    assert [frame["name"] for frame in told["exception"][0]["frames"]] == ["<module>", "fail"]
    assert "+34612345678" not in done.stderr


def test_the_parent_of_several_processes_loads_neither_the_server_nor_the_database() -> None:
    script = "import sys, voice_agent.supervisor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"fastapi", "sqlalchemy", "uvicorn", "voice_agent.app"} & set(done.stdout.split())
