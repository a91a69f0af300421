"""Tools that know their call: what they are shown as, what lands in the call's row, what is refused."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from tests.calls.stored_calls import NOW, a_stored_call, reread
from voice_agent.calls.call_tools import NAMES, Book, CallTools, ToolSubject, book_as_wanted
from voice_agent.errors import InvalidRequest
from voice_agent.pipeline.tools import ToolRegistry, ToolResult
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow

SUBJECT = ToolSubject(
    call_id=new_id(), is_of_campaign=True, zone="Europe/Madrid", dispositions={"sold": "Sold", "wrong": "Wrong person"}
)


class World:
    def __init__(self, database: Database, call: CallRow, book: Book) -> None:
        self.database = database
        self.call = call
        self.subject = msgspec.structs.replace(SUBJECT, call_id=call.id)
        self.tools = CallTools(database, clock=lambda: NOW, book=book)

    async def use(self, tool: str, /, **arguments: str) -> ToolResult:
        registry = ToolRegistry(self.tools.of(sorted(NAMES), self.subject))
        return await registry.run(tool, json.dumps(arguments))

    async def row(self) -> CallRow:
        return await reread(self.database, self.call.id)


async def _world(database: Database, book: Book = book_as_wanted) -> World:
    return World(database, await a_stored_call(database, state="in_progress"), book)


async def test_what_a_call_came_to_is_one_of_the_organisations_own_words(sqlite: Database) -> None:
    world = await _world(sqlite)
    assert not (await world.use("set_disposition", key="sold")).is_error
    assert (await world.row()).disposition == "sold"
    refused = await world.use("set_disposition", key="other")
    assert (refused.is_error, refused.text) == (True, "unknown key; known: sold, wrong")
    assert (await world.row()).disposition == "sold"


async def test_a_callback_is_booked_in_the_callees_own_time(sqlite: Database) -> None:
    world = await _world(sqlite)
    told = await world.use("book_callback", when="tomorrow 10:00")
    assert told.text == "They are called again on Thursday 2026-11-26 10:00, their time."
    assert (await world.row()).callback_at == datetime(2026, 11, 26, 9, tzinfo=UTC)


async def test_one_that_the_law_moves_is_told_as_moved(sqlite: Database) -> None:
    async def book(session: AsyncSession, call: CallRow, at: datetime, now: datetime) -> datetime:
        assert (session.in_transaction(), call.state, now) == (True, "in_progress", NOW)
        return at + timedelta(hours=1)

    world = await _world(sqlite, book)
    told = await world.use("book_callback", when="tomorrow 8:00")
    assert told.text.endswith("09:00, their time. That is the first time at which calls are allowed.")


@pytest.mark.parametrize("when", ["soon", "2020-01-01 10:00"])
async def test_a_time_that_is_none_is_asked_for_again(sqlite: Database, when: str) -> None:
    world = await _world(sqlite)
    assert (await world.use("book_callback", when=when)).is_error
    assert (await world.row()).callback_at is None


async def test_a_callback_that_is_refused_leaves_nothing(sqlite: Database) -> None:
    async def book(session: AsyncSession, call: CallRow, at: datetime, now: datetime) -> datetime:
        raise InvalidRequest(f"no calls at {at} {now} {call.id} {session}")

    world = await _world(sqlite, book)
    assert (await world.use("book_callback", when="17:00")).text.startswith("no calls at")
    assert (await world.row()).callback_at is None


async def test_notes_are_kept_by_name_and_there_are_not_too_many(sqlite: Database) -> None:
    world = await _world(sqlite)
    await world.use("note", name="budget", value="100")
    await world.use("note", name="budget", value="200")
    await world.use("note", name="pet", value="a dog")
    assert (await world.row()).noted == {"budget": "200", "pet": "a dog"}
    for n in range(48):
        assert not (await world.use("note", name=f"n{n}", value="")).is_error
    assert (await world.use("note", name="last", value="")).is_error
    assert (await world.use("note", name="Not A Name", value="")).is_error


async def test_a_database_that_is_away_is_told_and_the_call_goes_on() -> None:
    away = Database(make_url("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    tools = CallTools(away, clock=lambda: NOW)
    result = await ToolRegistry(tools.of(["set_disposition"], SUBJECT)).run("set_disposition", '{"key": "sold"}')
    assert (result.is_error, result.text) == (True, "it cannot be written down now: say so, and go on")
    await away.close()


async def test_a_call_that_is_not_known_is_refused(sqlite: Database) -> None:
    tools = CallTools(sqlite, clock=lambda: NOW)
    assert (await ToolRegistry(tools.of(["note"], SUBJECT)).run("note", '{"name": "a", "value": "b"}')).is_error


def test_a_call_has_those_tools_that_mean_something_in_it(sqlite: Database) -> None:
    tools = CallTools(sqlite, clock=lambda: NOW)

    def offered(**changes: object) -> list[str]:
        subject = msgspec.structs.replace(SUBJECT, **changes)
        return [tool.definition.name for tool in tools.of(["end_call", *sorted(NAMES)], subject)]

    assert offered() == sorted(NAMES)
    assert offered(is_of_campaign=False) == ["note", "set_disposition"]
    assert offered(dispositions={}) == ["book_callback", "note"]
    (callback, *_) = tools.of(["book_callback"], SUBJECT)
    assert "It is Wednesday 2026-11-25 13:00 for them" in callback.definition.description
    (kinds, *_) = tools.of(["set_disposition"], SUBJECT)
    assert kinds.definition.description.endswith("Keys: sold: Sold; wrong: Wrong person.")
