"""Tools that know which call they are used in: what it meant, when to call again, what was learned.

What they write down lands in the call's own row, at once, so that it is there when the call ends. A database that is
away is told to the model, which says so; the call goes on.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository
from voice_agent.calls.callback_times import FORMS, callback_time
from voice_agent.errors import DatabaseUnavailable, InvalidRequest, VoiceAgentError
from voice_agent.pipeline.tools import Tool, ToolResult
from voice_agent.storage.database import Database
from voice_agent.storage.storable import storable
from voice_agent.storage.tables import CallRow

MOST_NOTES = 50

Book = Callable[[AsyncSession, CallRow, datetime, datetime], Awaitable[datetime]]
"""Books a callback for a locked call's contact (call, wanted moment, now); returns the moment that the law allows.

Raises InvalidRequest where there is none.
"""


class ToolSubject(msgspec.Struct, frozen=True, kw_only=True):
    """Which call it is, and what is known of whoever is in it."""

    call_id: UUID
    is_of_campaign: bool
    zone: str = "UTC"
    """IANA, of whoever is called."""

    dispositions: Mapping[str, str] = {}
    """What the call may mean to the organisation: keys to labels."""


class _Disposition(msgspec.Struct, forbid_unknown_fields=True):
    key: str


class _Callback(msgspec.Struct, forbid_unknown_fields=True):
    when: str


class _Note(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
    value: Annotated[str, msgspec.Meta(max_length=500)]


async def book_as_wanted(session: AsyncSession, call: CallRow, at: datetime, now: datetime) -> datetime:  # noqa: ARG001 - the shape
    """Be a `Book` where no campaign is asked."""
    return at


class CallTools:
    """One for the process."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime], book: Book = book_as_wanted) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._clock = clock
        self._book = book

    def of(self, names: Iterable[str], subject: ToolSubject) -> tuple[Tool[Any], ...]:
        """Return those of an agent's tools that this call has: no callback outside of a campaign, for one."""
        offered: dict[str, Callable[[ToolSubject], Tool[Any]]] = {"note": self._note}
        if subject.dispositions:
            offered["set_disposition"] = self._set_disposition
        if subject.is_of_campaign:
            offered["book_callback"] = self._book_callback
        return tuple(offered[name](subject) for name in names if name in offered)

    def _set_disposition(self, subject: ToolSubject) -> Tool[_Disposition]:
        async def run(arguments: _Disposition) -> ToolResult:
            if arguments.key not in subject.dispositions:
                return _refused(f"unknown key; known: {', '.join(subject.dispositions)}")

            async def change(_: AsyncSession, call: CallRow) -> str:
                call.disposition = arguments.key
                return "Written down."

            return await self._change(subject, change)

        known = "; ".join(f"{key}: {label}" for key, label in subject.dispositions.items())
        return Tool("set_disposition", f"Write down what this call came to. Keys: {known}.", _Disposition, run)

    def _book_callback(self, subject: ToolSubject) -> Tool[_Callback]:
        zone = ZoneInfo(subject.zone)

        async def run(arguments: _Callback) -> ToolResult:
            async def change(session: AsyncSession, call: CallRow) -> str:
                now = self._clock()
                wanted = callback_time(arguments.when, now, subject.zone)
                call.callback_at = await self._book(session, call, wanted, now)
                moved = "" if call.callback_at == wanted else " That is the first time at which calls are allowed."
                return f"They are called again on {_local(call.callback_at, zone)}, their time.{moved}"

            return await self._change(subject, change)

        description = (
            f"Book another call at a time that the person wants. It is {_local(self._clock(), zone)} for them. Write "
            f"the time as theirs: {FORMS}. Tell them the time in the answer."
        )
        return Tool("book_callback", description, _Callback, run)

    def _note(self, subject: ToolSubject) -> Tool[_Note]:
        async def run(arguments: _Note) -> ToolResult:
            async def change(_: AsyncSession, call: CallRow) -> str:
                noted = {**call.noted, arguments.name: storable(arguments.value)}
                if len(noted) > MOST_NOTES:
                    raise InvalidRequest(f"there are {MOST_NOTES} notes, and more are not allowed")
                call.noted = noted
                return "Written down."

            return await self._change(subject, change)

        return Tool("note", "Write down something that was learned, under a short name such as budget.", _Note, run)

    async def _change(
        self, subject: ToolSubject, change: Callable[[AsyncSession, CallRow], Awaitable[str]]
    ) -> ToolResult:
        async def work(session: AsyncSession) -> str:
            call = await repository.locked(session, subject.call_id)
            if call is None:
                raise InvalidRequest("this call is not known any more")
            call.revision += 1
            return await change(session, call)

        try:
            return ToolResult(text=await self._database.transact(work))
        except DatabaseUnavailable:
            return _refused("it cannot be written down now: say so, and go on")
        except VoiceAgentError as error:
            return _refused(str(error))


NAMES = frozenset({"set_disposition", "book_callback", "note"})
"""What an agent's definition may name, beside the tools that know no call."""


def _refused(why: str) -> ToolResult:
    return ToolResult(text=why, is_error=True)


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%A %Y-%m-%d %H:%M")
