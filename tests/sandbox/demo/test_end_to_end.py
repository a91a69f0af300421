"""`voice-agent demo` as a user runs it: the real server, the real call, in real time (about 85 s)."""

import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import psutil
import pytest

from voice_agent.calls.replay import replay

ROOT = Path(__file__).parents[3]
CANARY = "sk-canary-7f3a"


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a command in a folder and an environment full of settings that must not reach it."""
    (folder / ".env").write_text("PORT=no-port\nLANGUAGE_MODEL=openai:nothing\n", "utf-8")
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    hostile = {"OPENAI_API_KEY": CANARY, "ELEVENLABS_API_KEY": CANARY, "TWILIO_ACCOUNT_SID": "AC1", "MAX_CALLS": "none"}
    return subprocess.Popen(
        [sys.executable, "-m", "voice_agent", *arguments],
        cwd=folder,
        env={**inherited, **hostile, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder: the server works in the run's folder, inside the demo's."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.timeout(200)
def test_the_demo_does_what_it_promises(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"

    process = start(tmp_path, "demo", "--json", "demo.json", "--data-dir", "demo")
    with process:
        output, _ = process.communicate(timeout=180)

    assert process.returncode == 0, output
    report = json.loads((tmp_path / "demo.json").read_bytes())
    assert report["turns"] >= 6
    assert (report["barge_ins"], report["false_stops"], report["stuck"]) == (1, 0, 0)
    assert 0 < report["voice_to_voice_ms"]["p50"] <= report["voice_to_voice_ms"]["p95"]
    for shown in (
        "cuts in",
        "goes on",
        "end_call",
        "endpointing",
        "hangs up",
        "turns answered",
        "GET /api/v1/calls",
        "curl",
    ):
        assert shown in output
    assert "\x1b" not in output
    seen = report["api"]
    assert (seen["direction"], seen["state"], seen["outcome"]) == ("inbound", "ended", "human")
    assert (seen["interrupted_lines"], seen["turns_timed"]) == (1, report["turns"])
    assert seen["recording"]["path"] == report["recording"]
    assert abs(seen["recording"]["duration_s"] - seen["duration_s"]) < 3
    assert set(seen["loudness_db"]) == {"caller", "agent"}
    assert None not in seen["loudness_db"].values()
    log, transcript = Path(report["event_log"]), json.loads(Path(report["transcript"]).read_bytes())
    (folder,) = data_dir.iterdir()
    assert log.is_relative_to(folder)
    assert replay(log).difference is None
    assert transcript["is_complete"]
    assert "booked in" in " ".join(entry.get("text", "") for entry in transcript["entries"])
    assert seen["transcript_lines"] == len(transcript["entries"])
    with wave.open(report["recording"]) as recording:
        assert recording.getnchannels() == 2
        assert recording.getnframes() > 30 * recording.getframerate()
    assert CANARY not in output + (folder / "server.log").read_text("utf-8")
    assert processes_in(data_dir) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_way_out_leaves_the_server_behind(tmp_path: Path, number: signal.Signals) -> None:
    data_dir = tmp_path / "demo"
    process = start(tmp_path, "demo", "--data-dir", str(data_dir))
    with process:
        deadline = time.monotonic() + 20
        while not processes_in(data_dir) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert processes_in(data_dir)
        process.send_signal(number)
        process.communicate(timeout=20)

    assert process.returncode == (-number if number is signal.SIGKILL else 128 + number)
    gone, alive = psutil.wait_procs(processes_in(data_dir), timeout=20)
    assert not alive, gone
