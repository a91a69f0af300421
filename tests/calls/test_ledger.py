"""A process's calls as others see them; tests/calls/test_live.py holds calls with it."""

from pathlib import Path

from voice_agent.calls.ledger import CallLedger
from voice_agent.storage.database import Database


async def test_it_opens_and_closes_as_often_as_it_is_asked(sqlite: Database, tmp_path: Path) -> None:
    ledger = CallLedger(sqlite, tmp_path, worker="a")
    await ledger.close()
    await ledger.open()
    await ledger.close()
    await ledger.close()
    assert ledger.shipper.backlog == 0
