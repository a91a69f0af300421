"""The command line as a user runs it: a process of its own, its output and its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voice_agent import __version__
from voice_agent.settings import settings_table

CANARY = "sk-canary-7f3a"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path: Path) -> "Runner":
    return Runner(tmp_path)


class Runner:
    """Runs `voice-agent` in an empty folder with nothing but what is asked for in its environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "voice_agent", *arguments],
            cwd=self._folder,
            env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )


def test_version(run: Runner) -> None:
    done = run("version")

    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_without_a_command_it_lists_them(run: Runner) -> None:
    done = run("--help")

    assert done.returncode == 0
    for command in ("demo", "doctor", "replay", "serve", "settings", "simulate", "version"):
        assert command in done.stdout


def test_an_unknown_command_is_a_usage_error(run: Runner) -> None:
    assert run("fly").returncode == 2


def test_light_commands_load_no_sdk_and_no_server() -> None:
    """`version` in a process that then says what it has imported."""
    program = """
import sys
from voice_agent.cli import app
app(["version"], standalone_mode=False)
heavy = {"fastapi", "uvicorn", "openai", "elevenlabs", "langchain_core", "twilio", "numpy", "redis", "aiohttp"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [__version__, "[]"]


def test_settings_prints_the_table(run: Runner) -> None:
    assert run("settings").stdout == settings_table()


def test_settings_notices_a_table_that_is_out_of_date(run: Runner, tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    page.write_text(settings_table(), "utf-8")
    assert run("settings", "--check", str(page)).returncode == 0

    page.write_text(settings_table().replace("8000", "8001"), "utf-8")
    stale = run("settings", "--check", str(page))

    assert stale.returncode == 1
    assert "make docs" in stale.stderr


def test_the_page_in_docs_is_the_table() -> None:
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings_table()


def test_doctor_without_accounts_finds_nothing_wrong(run: Runner) -> None:
    done = run("doctor")

    assert done.returncode == 0, done.stdout
    assert "no account: only the sandbox can call" in done.stdout


def test_f57_doctor_names_every_bad_setting_and_shows_no_value(run: Runner) -> None:
    done = run("doctor", PORT=CANARY, TWILIO_ACCOUNT_SID=CANARY, ELEVENLABS_API_KEY=f"<{CANARY}>")

    assert done.returncode == 1
    for name in ("PORT", "TWILIO_ACCOUNT_SID", "ELEVENLABS_API_KEY"):
        assert name in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_simulate_lists_its_scenarios_and_wants_one(run: Runner) -> None:
    listed = run("simulate", "--list")
    assert listed.returncode == 0
    assert "demo" in [line.split()[0] for line in listed.stdout.splitlines()]

    assert run("simulate").returncode == 2
    unknown = run("simulate", "no_such_scenario")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("voice-agent:")


def test_a_server_that_belongs_to_another_process_ends_with_it(tmp_path: Path) -> None:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "voice_agent", "serve", "--port", "0", "--until-stdin-closes"],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert b"Listening at http://127.0.0.1:" in server.stdout.readline()
        server.stdin.close()
        assert server.wait(timeout=20) == 0


def test_replaying_a_file_that_is_no_event_log_fails_with_a_sentence(run: Runner, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text("not a log\n", "utf-8")

    done = run("replay", str(log))

    assert done.returncode == 1
    assert done.stderr.startswith("voice-agent:")
    assert "Traceback" not in done.stderr


def test_a_number_is_suppressed_everywhere_and_lifted_with_a_reason_alone(run: Runner, tmp_path: Path) -> None:
    where = {"DATA_DIR": str(tmp_path)}

    assert "(global)" in run("suppress", "+34 612 345 678", "--global", **where).stdout
    assert run("suppress", "+34612345678", "--global", "--lift", **where).returncode == 2
    lifted = run("suppress", "+34612345678", "--global", "--lift", "--reason", "a mistake", **where)
    assert "may be called again" in lifted.stdout


def test_the_rule_packs_are_listed_and_one_that_cannot_be_used_is_named(run: Runner, tmp_path: Path) -> None:
    assert "US " in run("rule-packs").stdout
    (tmp_path / "gb.yaml").write_text("jurisdiction: GB", "utf-8")
    refused = run("rule-packs", COMPLIANCE_PACKS_DIR=str(tmp_path))

    assert refused.returncode == 1
    assert "gb.yaml" in refused.stderr
