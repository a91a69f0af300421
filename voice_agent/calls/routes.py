"""The REST interface of calls. It translates; `CallService` does."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.calls import recording_rows, repository
from voice_agent.calls.model import CallState, Outcome
from voice_agent.calls.repository import CallFilter
from voice_agent.calls.schemas import (
    CallDetail,
    CallOut,
    Erased,
    Erasure,
    EventOut,
    Link,
    NewCall,
    RecordingOut,
    TranscriptEntryOut,
    Transfer,
    TurnOut,
)
from voice_agent.calls.service import CallOrder, CallService
from voice_agent.errors import Conflict, NotFound
from voice_agent.rest.etags import etag
from voice_agent.rest.idempotency import idempotent_route
from voice_agent.rest.inputs import LARGEST, Moment, SearchText
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.files import StorageService
from voice_agent.storage.tables import CallRow, RecordingRow

PREFIX = "/api/v1/calls"

LINK_S = 300
"""Lifetime of a signed address of a recording; the longest that is allowed (reliability.md section 5, row 10)."""

LINES_OF_A_PAGE = 1_000


def calls_router(calls: CallService, storage: StorageService, gate: Gate, transactions: Transactions) -> APIRouter:
    """Return the routes under /api/v1/calls."""
    router = APIRouter()
    # The fixed paths come first: /calls/erase is no call's id.
    router.include_router(_acting_router(calls, gate, transactions))
    router.include_router(_looking_router(calls, gate, transactions))
    router.include_router(_recordings_router(calls, storage, gate, transactions))
    return router


def _acting_router(calls: CallService, gate: Gate, transactions: Transactions) -> APIRouter:
    async def org_of(request: Request) -> UUID:
        return (await gate.identify(request)).org_id

    router = APIRouter(
        prefix=PREFIX,
        tags=["calls"],
        route_class=idempotent_route(transactions.database, org_of),
        responses=refusals(404, 409),
    )
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Caller = Annotated[Principal, Depends(gate.allow(Permission.CALLS_WRITE))]
    Eraser = Annotated[Principal, Depends(gate.allow(Permission.CALLS_DELETE))]

    @router.post("", status_code=status.HTTP_201_CREATED)
    async def start_call(principal: Caller, body: NewCall, response: Response) -> CallOut:
        """Place a call. The answer says how it stands: `accepted`, `failed` with the reason, or `unknown`.

        `unknown`: the carrier's answer did not come. It is found out within two minutes, and never dialled again.
        403 with `reasons`: the rules forbid it (see `may-call`); the call is listed as `void`, with them.
        """
        call = await calls.start(principal, _order(body))
        response.headers["Location"] = f"/api/v1/calls/{call.id}"
        return _shown(call, response)

    @router.post("/erase")
    async def erase_calls_of_number(principal: Eraser, body: Erasure, session: Writing) -> Erased:
        """Delete what every call with a number left behind, as a person may demand."""
        erased, active = await calls.erase_number(session, principal, body.number)
        return Erased(erased=erased, active=active)

    @router.post("/{call_id}/end", responses=refusals(502))
    async def end_call(principal: Caller, call_id: UUID, response: Response) -> CallOut:
        """End a call; one that is over stays as it is."""
        return _shown(await calls.end(principal, call_id), response)

    @router.post("/{call_id}/transfer", responses=refusals(502))
    async def transfer_call(principal: Caller, call_id: UUID, body: Transfer, response: Response) -> CallOut:
        """Connect the caller to somebody else."""
        briefing = body.briefing if body.mode == "warm" else ""
        return _shown(await calls.transfer(principal, call_id, body.target, briefing=briefing), response)

    @router.post("/{call_id}/recording/pause", responses=refusals(502))
    async def pause_recording(principal: Caller, call_id: UUID, response: Response) -> CallOut:
        """Record silence from now on, while a card number is said. The transcript goes on.

        503: no process has said that it did so; ask again.
        """
        return _shown(await calls.pause_recording(principal, call_id, is_paused=True), response)

    @router.post("/{call_id}/recording/resume", responses=refusals(502))
    async def resume_recording(principal: Caller, call_id: UUID, response: Response) -> CallOut:
        """Record sound again."""
        return _shown(await calls.pause_recording(principal, call_id, is_paused=False), response)

    @router.delete("/{call_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_call(principal: Eraser, call_id: UUID, session: Writing) -> None:
        """Delete what a call left behind; that it took place and what it cost stays."""
        await calls.delete(session, principal, call_id)

    return router


def _looking_router(calls: CallService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["calls"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CALLS_READ))]

    @router.get("")
    async def list_calls(
        principal: Reader,
        session: Reading,
        wanted: Annotated[CallFilter, Depends(_filter)],
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> Page[CallOut]:
        """List calls, newest first."""
        rows = await calls.page(session, principal.org_id, wanted, before=place(cursor), limit=limit + 1)
        return Page[CallOut].of(rows, limit, CallOut.of)

    @router.get("/{call_id}")
    async def get_call(principal: Reader, call_id: UUID, session: Reading, response: Response) -> CallDetail:
        """Return a call with its transcript, the timing of its turns and its recordings."""
        call = await calls.find(session, principal.org_id, call_id)
        response.headers["ETag"] = etag(call.revision)
        return CallDetail(
            **CallOut.of(call).model_dump(),
            disclosed_at=call.disclosed_at,
            verdict=call.verdict,
            variables=call.variables,
            transcript=[TranscriptEntryOut.of(row) for row in await repository.transcript(session, call_id)],
            turns=[TurnOut.of(row) for row in await repository.latencies(session, call_id)],
            recordings=[RecordingOut.of(row) for row in await recording_rows.of_call(session, call_id)],
        )

    @router.get("/{call_id}/events")
    async def list_call_events(
        principal: Reader,
        call_id: UUID,
        session: Reading,
        after_segment: Annotated[int, Query(ge=-1, le=LARGEST)] = -1,
        after_line: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    ) -> list[EventOut]:
        """Return the event log from a line on, at most 1,000 lines: `voice-agent replay` reads it."""
        await calls.find(session, principal.org_id, call_id)
        after = (after_segment, after_line)
        lines = await repository.event_lines(session, call_id, after=after, limit=LINES_OF_A_PAGE)
        return [EventOut(segment=row.segment, line=row.line, body=msgspec.json.decode(row.body)) for row in lines]

    return router


def _recordings_router(
    calls: CallService, storage: StorageService, gate: Gate, transactions: Transactions
) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["calls"])
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Listener = Annotated[Principal, Depends(gate.allow(Permission.RECORDINGS_READ))]

    async def stored(session: AsyncSession, principal: Principal, call_id: UUID, recording_id: UUID) -> RecordingRow:
        await calls.find(session, principal.org_id, call_id)
        recording = await session.get(RecordingRow, recording_id)
        if recording is None or recording.call_id != call_id:
            raise NotFound("there is no such recording")
        if recording.storage_key is None or recording.state != "stored":
            raise Conflict(f"the recording is not stored yet: it is {recording.state}")
        return recording

    @router.get("/{call_id}/recordings/{recording_id}/link", responses=refusals(409))
    async def get_recording_link(
        principal: Listener, call_id: UUID, recording_id: UUID, session: Writing, response: Response
    ) -> Link:
        """Return an address where the recording can be heard for five minutes."""
        recording = await stored(session, principal, call_id, recording_id)
        return await _link(session, principal, recording, str(recording.storage_key), response)

    @router.get("/{call_id}/recordings/{recording_id}/peaks", responses=refusals(409))
    async def get_peaks_link(
        principal: Listener, call_id: UUID, recording_id: UUID, session: Writing, response: Response
    ) -> Link:
        """Return an address of the recording's outline (audiowaveform's JSON)."""
        recording = await stored(session, principal, call_id, recording_id)
        if recording.peaks_key is None:
            raise NotFound("this recording has no outline")
        return await _link(session, principal, recording, recording.peaks_key, response)

    async def _link(
        session: AsyncSession, principal: Principal, recording: RecordingRow, key: str, response: Response
    ) -> Link:
        await audit.record(session, principal, "recording.read", target_kind="recording", target_id=str(recording.id))
        response.headers["Cache-Control"] = "no-store"
        expires_at = datetime.now(UTC) + timedelta(seconds=LINK_S)
        return Link(url=await storage.signed_url(key, ttl_s=LINK_S), expires_at=expires_at)

    return router


def _order(body: NewCall) -> CallOrder:
    return CallOrder(
        to=body.to,
        purpose=body.purpose,
        from_number=body.from_number or "",
        agent_id=body.agent_id,
        variables=body.variables,
        machine_detection=body.machine_detection,
        on_machine=body.on_machine,
        is_carrier_recorded=body.carrier_recording,
        ring_s=body.ring_s,
    )


async def _filter(
    state: Annotated[list[CallState] | None, Query()] = None,
    outcome: Annotated[list[Outcome] | None, Query()] = None,
    direction: Annotated[str, Query(pattern="^(inbound|outbound)?$")] = "",
    number: Annotated[SearchText, Query(max_length=40, description="Telephone number of either end.")] = "",
    agent_id: Annotated[UUID | None, Query()] = None,
    created_from: Annotated[Moment | None, Query()] = None,
    created_to: Annotated[Moment | None, Query(description="Exclusive.")] = None,
) -> CallFilter:
    return CallFilter(
        states=frozenset(state or ()),
        outcomes=frozenset(outcome or ()),
        direction=direction,
        number=number,
        agent_id=agent_id,
        created_from=created_from,
        created_to=created_to,
    )


def _shown(call: CallRow, response: Response) -> CallOut:
    response.headers["ETag"] = etag(call.revision)
    return CallOut.of(call)
