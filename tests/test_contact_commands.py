"""`voice-agent contacts import` as a user runs it: a process of its own, a database and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from voice_agent.contact_commands import described, described_preview
from voice_agent.contacts.import_command import Outcome
from voice_agent.contacts.import_model import Counts
from voice_agent.contacts.reading.model import Preview, PreviewRow, RowRefusal
from voice_agent.storage.ids import new_id

ROOT = Path(__file__).parent.parent
CONTENT = "phone,name\n612345678,Ana\n12,Eva\n"


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "voice_agent", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.timeout(240)
def test_a_file_is_looked_at_imported_and_its_bad_rows_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(CONTENT)
    without = run(tmp_path, "contacts", "import", "people.csv")
    assert (without.returncode, "create an owner first" in without.stderr) == (1, True), without.stderr
    assert run(tmp_path, "owner", "ana@harbour.test", "--password", "correct horse battery").returncode == 0

    looked = run(tmp_path, "contacts", "import", "people.csv", "--country", "es", "--dry-run")
    assert looked.returncode == 1, looked.stderr
    assert "2 rows (the whole file): 1 can be taken, 1 cannot" in looked.stdout

    done = run(tmp_path, "contacts", "import", "people.csv", "--country", "ES", "--list", "Fair", "--json", "out.json")
    assert done.returncode == 1, done.stderr
    outcome: dict[str, Any] = msgspec.json.decode((tmp_path / "out.json").read_bytes())
    assert (outcome["state"], outcome["rows"], outcome["counts"]["created"]) == ("done", 2, 1)
    assert outcome["counts"]["listed"] == 1
    rejected = tmp_path / "people.rejected.csv"
    assert "The bad rows are in people.rejected.csv" in done.stdout
    assert "12,Eva,2,phone," in rejected.read_text("utf-8-sig")

    rejected.write_text(rejected.read_text("utf-8-sig").replace("12,Eva", "612345679,Eva"))
    again = run(tmp_path, "contacts", "import", "people.rejected.csv", "--country", "ES", "--list", "Fair")
    assert again.returncode == 0, again.stderr
    assert "1 created" in again.stdout
    assert run(tmp_path, "contacts", "import", "none.csv").returncode == 2


def test_what_came_of_an_import_is_told_in_lines() -> None:
    outcome = Outcome(
        import_id=new_id(), state="failed", rows=7, counts=Counts(created=7), seconds=1.5, error="it was deleted"
    )
    assert described(outcome).splitlines() == ["", "failed: 7 rows in 1.5 s", "          7 created", "it was deleted"]
    assert not outcome.is_good


def test_a_dry_run_names_the_bad_rows() -> None:
    refusal = RowRefusal(row=3, column="phone", code="missing", reason="there is no number", cells=("", "Eva"))
    preview = Preview(
        first=(), worst=(PreviewRow(row=3, cells=("", "Eva"), refused=refusal),), rows=5, is_whole=False, taken=4,
        refused=1, blank=0, duplicates=2, codes={"missing": 1},
    )  # fmt: skip
    assert described_preview(preview).splitlines() == [
        "5 rows (as far as was looked): 4 can be taken, 1 cannot, 2 have a number that came before",
        "          1 missing",
        "row 3: phone: there is no number:  | Eva",
    ]
