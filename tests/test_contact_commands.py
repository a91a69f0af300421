"""`voice-agent contacts import`: a file, a database and nothing else; what is told and the exit code."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from voice_agent import contact_commands
from voice_agent.auth.commands import create_owner
from voice_agent.contact_commands import described, described_preview, import_contacts
from voice_agent.contacts.import_command import Outcome
from voice_agent.contacts.import_model import Counts
from voice_agent.contacts.reading.model import Preview, PreviewRow, RowRefusal
from voice_agent.errors import NotFound
from voice_agent.settings import Settings, load_settings
from voice_agent.storage.ids import new_id

CONTENT = "phone,name\n612345678,Ana\n12,Eva\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    # That of this process is the tests' own.
    monkeypatch.setattr(contact_commands, "configure_logging", lambda _: None)
    return load_settings()


def imported(settings: Settings, file: Path, *, is_dry_run: bool = False, json_file: Path | None = None) -> int:
    return import_contacts(
        settings, file, list_name="Fair", country="es", template="", is_dry_run=is_dry_run, json_file=json_file
    )


def test_a_file_is_looked_at_imported_and_its_bad_rows_lie_beside_it(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = tmp_path / "people.csv"
    people.write_text(CONTENT)
    with pytest.raises(NotFound, match="create an owner first"):
        imported(settings, people)
    asyncio.run(create_owner(settings, "ana@harbour.test", "correct horse battery"))

    assert imported(settings, people, is_dry_run=True) == 1
    assert "2 rows (the whole file): 1 can be taken, 1 cannot" in capsys.readouterr().out

    assert imported(settings, people, json_file=tmp_path / "out.json") == 1
    outcome: dict[str, Any] = msgspec.json.decode((tmp_path / "out.json").read_bytes())
    assert (outcome["state"], outcome["rows"], outcome["counts"]["created"]) == ("done", 2, 1)
    assert outcome["counts"]["listed"] == 1
    rejected = tmp_path / "people.rejected.csv"
    told = capsys.readouterr()
    assert f"The bad rows are in {rejected}" in told.out
    assert "2 rows" in told.err
    assert "12,Eva,2,phone," in rejected.read_text("utf-8-sig")

    rejected.write_text(rejected.read_text("utf-8-sig").replace("12,Eva", "612345679,Eva"))
    assert imported(settings, rejected) == 0
    assert "1 created" in capsys.readouterr().out


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
