"""One process on SQLite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voice_agent.errors import SettingsError
from voice_agent.jobs.single import SingleProcess


def test_a_second_one_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    first, second = SingleProcess(tmp_path / "new" / "lock"), SingleProcess(tmp_path / "new" / "lock")
    first.take()

    with pytest.raises(SettingsError, match=f"process {os.getpid()} runs the jobs"):
        second.take()

    first.release()
    first.release()
    second.take()
    second.release()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """However it ends: the operating system takes the lock, the file with its number stays."""
    script = (
        "import os, signal, sys; from pathlib import Path; from voice_agent.jobs.single import SingleProcess\n"
        "SingleProcess(Path(sys.argv[1])).take(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "lock"], check=False, timeout=30)
    assert (tmp_path / "lock").read_text().strip().isdigit()

    lock = SingleProcess(tmp_path / "lock")
    lock.take()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
