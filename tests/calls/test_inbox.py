"""What the carrier tells while the database is away."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tests.calls.stored_calls import NOW, POLICY, SID, OneAgent, a_call, a_stored_call, reread
from tests.contracts.eventually import eventually
from tests.fakes.carrier import FakeCarrier
from tests.servers.stalling import stalled
from voice_agent.calls.inbox import FILE_NAME, REFUSED_NAME, Inbox, Kept
from voice_agent.calls.model import CarrierReport
from voice_agent.calls.processor import CallProcessor, Receipt
from voice_agent.errors import DatabaseUnavailable, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CarrierEventRow

GONE_PROCESS = 4_000_000
"""Beyond the largest process id of Linux' default."""


class Store:
    """A `CallProcessor.take` that fails as long as it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.refused: dict[str, Exception] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.stored: list[str] = []
        self.tried = 0

    async def take(self, receipt: Receipt) -> CallRow | None:
        self.tried += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        if receipt.event in self.refused:
            raise self.refused[receipt.event]
        self.stored.append(receipt.event)
        return a_call(new_id())


def receipt(event: str) -> Receipt:
    return Receipt(
        source="status", call_sid=SID, dedupe_key=f"{SID}:{event}", event=event,
        report=CarrierReport(status=event, at=NOW), payload={"CallStatus": event}, received_at=NOW,
    )  # fmt: skip


def an_inbox(store: Store, folder: Path) -> Inbox:
    return Inbox(store.take, folder, patience_s=0.02, retry_s=0.005)


def files_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def left_by(process_id: int, folder: Path, *events: str) -> Path:
    path = folder / f"{process_id}-{FILE_NAME}"
    path.write_bytes(b"".join(msgspec.json.encode(receipt(event)) + b"\n" for event in events))
    return path


async def test_what_can_be_stored_is_stored_at_once(tmp_path: Path) -> None:
    store = Store()
    inbox = an_inbox(store, tmp_path)

    kept = await inbox.put(receipt("ringing"))

    assert kept.is_stored
    assert kept.call is not None
    assert (store.stored, inbox.is_behind, files_in(tmp_path)) == (["ringing"], False, [])
    await inbox.close()


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), IntegrityError("", {}, Exception()), NotFound("none")])
async def test_f40_what_cannot_be_stored_waits_on_disk_in_order(tmp_path: Path, error: Exception) -> None:
    store = Store()
    inbox = an_inbox(store, tmp_path / "not made yet")
    store.error = error
    assert await inbox.put(receipt("initiated")) == Kept(is_stored=False)
    store.error = DatabaseUnavailable("away")
    for event in ("ringing", "in-progress", "completed"):
        assert await inbox.put(receipt(event)) == Kept(is_stored=False)

    store.error = None
    await eventually(lambda: not inbox.is_behind)
    assert store.stored[-3:] == ["ringing", "in-progress", "completed"]
    assert set(files_in(tmp_path / "not made yet")) <= {REFUSED_NAME}
    await inbox.close()


async def test_f41_a_database_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    store = Store()
    inbox = an_inbox(store, tmp_path)
    store.may_answer.clear()

    assert await inbox.put(receipt("ringing")) == Kept(is_stored=False)
    assert await inbox.put(receipt("completed")) == Kept(is_stored=False)
    assert store.tried <= 2, "while receipts wait on disk the database is not asked for each new one"

    store.may_answer.set()
    await eventually(lambda: not inbox.is_behind)
    assert {"ringing", "completed"} == set(store.stored)
    await inbox.close()


async def test_f40_what_a_killed_process_left_is_stored_and_then_ones_own(tmp_path: Path) -> None:
    left_by(GONE_PROCESS, tmp_path, "initiated", "ringing")
    left_by(os.getpid(), tmp_path, "in-progress")
    store = Store()
    store.error = DatabaseUnavailable("away")
    inbox = an_inbox(store, tmp_path)
    await inbox.open()
    assert await inbox.put(receipt("completed")) == Kept(is_stored=False)

    store.error = None
    await eventually(lambda: not inbox.is_behind)
    assert sorted(store.stored) == ["completed", "in-progress", "initiated", "ringing"]
    assert store.stored.index("initiated") < store.stored.index("ringing")
    assert files_in(tmp_path) == []
    await inbox.close()


async def test_what_a_running_process_keeps_is_its_own(tmp_path: Path) -> None:
    theirs = left_by(os.getppid(), tmp_path, "ringing")
    other = tmp_path / f"someone-{FILE_NAME}"
    other.write_bytes(b"")
    store = Store()
    inbox = an_inbox(store, tmp_path)
    await inbox.open()
    await eventually(lambda: not inbox.is_behind)

    assert (store.stored, theirs.exists()) == ([], True)
    await inbox.close()


async def test_f40_one_that_the_database_refuses_keeps_no_other_waiting(tmp_path: Path) -> None:
    left = left_by(GONE_PROCESS, tmp_path, "initiated", "ringing", "completed")
    left.write_bytes(left.read_bytes() + b'{"source":"sta')
    store = Store()
    store.refused = {"initiated": NotFound("no organisation"), "ringing": IntegrityError("", {}, Exception())}
    inbox = an_inbox(store, tmp_path)
    await inbox.open()
    await eventually(lambda: not inbox.is_behind)

    assert store.stored == ["completed"]
    refused = (tmp_path / REFUSED_NAME).read_bytes().splitlines()
    assert [msgspec.json.decode(line)["event"] for line in refused] == ["initiated", "ringing"]
    assert not left.exists()
    await inbox.close()


async def test_f40_what_is_on_disk_outlives_the_process(tmp_path: Path) -> None:
    store = Store()
    store.error = DatabaseUnavailable("away")
    first = an_inbox(store, tmp_path)
    await first.put(receipt("completed"))
    await first.close()
    await first.close()

    store.error = None
    second = an_inbox(store, tmp_path)
    await second.open()
    await eventually(lambda: not second.is_behind)
    assert store.stored == ["completed"]
    await second.close()


async def test_f45_a_full_disk_fails_no_webhook(tmp_path: Path) -> None:
    store = Store()
    store.error = DatabaseUnavailable("away")
    (tmp_path / "file").touch()
    inbox = an_inbox(store, tmp_path / "file")  # no folder can be made there

    assert await inbox.put(receipt("completed")) == Kept(is_stored=False)
    assert not inbox.is_behind
    await inbox.close()


async def test_f40_a_stalled_database_gets_everything_once(database: Database, tmp_path: Path) -> None:
    call = await a_stored_call(database)
    processor = CallProcessor(database, FakeCarrier(), OneAgent(), policy=POLICY)
    inbox = Inbox(processor.take, tmp_path, patience_s=0.05, retry_s=0.01)
    events = ("initiated", "ringing", "in-progress", "completed")
    async with stalled(database):
        for event in events:
            kept = await inbox.put(msgspec.structs.replace(receipt(event), call_id=call.id))
            assert kept == Kept(is_stored=False)

    await eventually(lambda: not inbox.is_behind)
    assert (await reread(database, call.id)).state == "ended"
    async with database.read() as session:
        stored = (await session.scalars(select(CarrierEventRow.event))).all()
    assert sorted(stored) == sorted(events)
    await inbox.close()
    await processor.close()
