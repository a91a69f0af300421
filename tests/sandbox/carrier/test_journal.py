from pathlib import Path

import msgspec

from voice_agent.sandbox.carrier.journal import AnyEntry, Cleared, DigitPressed, Journal


def test_entries_are_kept_told_and_saved(tmp_path: Path) -> None:
    journal = Journal(lambda: 5.0)
    told: list[AnyEntry] = []
    journal.listen(told.append)
    first = DigitPressed(at=journal.now, call_sid="CA1", digit="5", sample=800)
    second = Cleared(at=journal.now, call_sid="CA2", sample=900, dropped_bytes=10)
    journal.write(first)
    journal.write(second)
    assert list(journal) == told == [first, second]
    assert journal.of_call("CA2") == (second,)
    journal.save(tmp_path / "journal.jsonl")
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=AnyEntry) for line in lines] == [first, second]
