"""How long Twilio waits for an answer to its webhooks, with a database that answers and with one that stands still.

The routes are served by uvicorn on loopback, on SQLite and on Postgres, and are sent signed requests at an even pace:
those of an outbound and of an inbound call in turn, as Twilio sends them. In the second run of each another connection
holds every lock for a while in the middle. Afterwards every call must have its end in the database, once.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec
import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy import URL, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bench.figures import Figure, figure, parser, write_figures
from tests.servers.postgres import PostgresServer
from tests.servers.stalling import stalled
from voice_agent.calls.inbox import Inbox
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.model import FINAL, CallState
from voice_agent.calls.policy import CallPolicy
from voice_agent.calls.processor import Answering, CallProcessor
from voice_agent.calls.reception import Reception
from voice_agent.calls.session import CallPlan
from voice_agent.calls.spool import Spool
from voice_agent.errors import MediaStreamError
from voice_agent.integrations.twilio.addresses import (
    AFTER_STREAM_PATH,
    STATUS_PATH,
    STREAM_STATUS_PATH,
    VOICE_PATH,
    TwilioAddresses,
)
from voice_agent.integrations.twilio.service import TwilioService
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.integrations.twilio.webhooks import TwilioWebhooks
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.media_stream.tickets import TicketOffice
from voice_agent.pipeline.latency import percentile
from voice_agent.sandbox.carrier.webhooks import signature
from voice_agent.settings import TwilioSettings
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CarrierEventRow, OrganisationRow

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of no account
OURS, THEIRS = "+34910000000", "+34612345678"

STEP_S = 0.2
"""Between two requests of one call."""

ANSWERED_WITHIN_MS = 250.0
STALLED_WITHIN_MS = 1_500.0
WORKED_OFF_S = 30.0


class Run(msgspec.Struct):
    """What became of one run's requests."""

    waits_ms: list[float] = msgspec.field(default_factory=list)
    failures: int = 0
    """Answers that were not 200 or 204."""
    without_end: int = 0
    """Calls that the database does not know the end of, or knows more than once."""


class OneOrganisation:
    """Implements `calls.processor.Switchboard`."""

    def __init__(self, org_id: UUID) -> None:
        self._org_id = org_id

    async def answering(self, session: AsyncSession, number: str) -> Answering:  # noqa: ARG002 - the port's shape
        """Return the only one there is."""
        return Answering(org_id=self._org_id, version_id=None, agent_name="Bench", language="en")


async def _no_plan(started: StreamStarted) -> CallPlan:
    raise MediaStreamError(f"nobody streams here: {started.call_sid}")


@asynccontextmanager
async def serving(database: Database, org_id: UUID, folder: Path) -> AsyncIterator[tuple[str, Inbox]]:
    """Serve the routes; give their address and what stands behind them."""
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(Spool())
        live = LiveCalls(
            tickets=TicketOffice(b"s" * 32, secrets.token_bytes),
            plan=_no_plan,
            spool=spool,
            data_dir=folder,
            max_calls=1_000,
        )
        carrier = TwilioService(TwilioSettings())
        processor = CallProcessor(database, carrier, OneOrganisation(org_id), policy=CallPolicy())
        stack.push_async_callback(processor.close)
        inbox = Inbox(processor.take, folder / "inbox")
        stack.push_async_callback(inbox.close)
        reception = Reception(database, live, inbox, clock=lambda: datetime.now(UTC))
        stack.push_async_callback(reception.close)
        server = uvicorn.Server(uvicorn.Config(FastAPI(), port=0, log_config=None, access_log=False))
        serve = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        webhooks = TwilioWebhooks(
            reception, inbox, live, WebhookSignature(TOKEN, url), addresses=TwilioAddresses(url), language="en"
        )
        server.config.app.include_router(webhooks.router)  # type: ignore[union-attr]
        try:
            yield url, inbox
        finally:
            server.should_exit = True
            await serve


class Caller:
    """Sends what Twilio sends."""

    def __init__(self, client: aiohttp.ClientSession, url: str, run: Run) -> None:
        self._client = client
        self._url = url
        self._run = run

    async def outbound(self, call_id: UUID, call_sid: str) -> None:
        """A call of ours that is answered by a person and ended by them."""
        path = f"/twilio/calls/{call_id}"
        await self._send(f"{path}/status", call_sid, CallStatus="initiated", SequenceNumber="0")
        await self._send(f"{path}/status", call_sid, CallStatus="ringing", SequenceNumber="1")
        await self._send(f"{path}/answer", call_sid, CallStatus="in-progress")
        await self._send(f"{path}/status", call_sid, CallStatus="in-progress", SequenceNumber="2")
        await self._send(STREAM_STATUS_PATH, call_sid, StreamEvent="stream-started", StreamSid="MZ1")
        await self._send(f"{path}/machine", call_sid, AnsweredBy="human")
        await self._send(AFTER_STREAM_PATH, call_sid, CallStatus="in-progress")
        await self._send(f"{path}/status", call_sid, CallStatus="completed", SequenceNumber="3", CallDuration="9")

    async def inbound(self, call_sid: str) -> None:
        """Somebody who calls us and hangs up."""
        await self._send(VOICE_PATH, call_sid, To=OURS, From=THEIRS, CallStatus="ringing")
        await self._send(STREAM_STATUS_PATH, call_sid, StreamEvent="stream-started", StreamSid="MZ1")
        await self._send(AFTER_STREAM_PATH, call_sid, CallStatus="in-progress")
        await self._send(STATUS_PATH, call_sid, CallStatus="completed", SequenceNumber="0", CallDuration="9")

    async def _send(self, path: str, call_sid: str, **fields: str) -> None:
        form = {"CallSid": call_sid, "AccountSid": "AC1", "ApiVersion": "2010-04-01", **fields}
        headers = {"X-Twilio-Signature": signature(TOKEN, self._url + path, form)}
        began = time.perf_counter()
        async with self._client.post(self._url + path, data=form, headers=headers) as answer:
            await answer.read()
        self._run.waits_ms.append((time.perf_counter() - began) * 1_000)
        self._run.failures += answer.status not in {200, 204}
        await asyncio.sleep(STEP_S)


async def measure(address: URL, options: argparse.Namespace, *, stall_s: float) -> Run:
    """Send the requests of so many calls a second; with `stall_s` the database stands still that long in between."""
    run = Run()
    calls = int(options.seconds * options.calls_per_second)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            database = Database(address)
            stack.push_async_callback(database.close)
            await database.migrate()
            org_id = await _organisation(database)
            ids = await _outbound_calls(database, org_id, calls)
            url, inbox = await stack.enter_async_context(serving(database, org_id, Path(folder)))
            client = await stack.enter_async_context(aiohttp.ClientSession())
            caller = Caller(client, url, run)
            async with asyncio.TaskGroup() as group:
                group.create_task(_stall(database, options.seconds / 3, stall_s))
                for number, call_id in enumerate(ids):
                    group.create_task(caller.outbound(call_id, f"CA{2 * number:032}"))
                    await asyncio.sleep(0.5 / options.calls_per_second)
                    group.create_task(caller.inbound(f"CA{2 * number + 1:032}"))
                    await asyncio.sleep(0.5 / options.calls_per_second)
            async with asyncio.timeout(WORKED_OFF_S):
                while inbox.is_behind:  # noqa: ASYNC110 - nor has the inbox: nobody else waits for it
                    await asyncio.sleep(0.05)
            run.without_end = 2 * calls - await _ended_calls(database)
    return run


async def _stall(database: Database, after_s: float, stall_s: float) -> None:
    await asyncio.sleep(after_s)
    if stall_s:
        async with stalled(database):
            await asyncio.sleep(stall_s)


async def _organisation(database: Database) -> UUID:
    async with database.write() as session:
        row = OrganisationRow(id=new_id(), name="Bench", created_at=datetime.now(UTC))
        session.add(row)
    return row.id


async def _outbound_calls(database: Database, org_id: UUID, count: int) -> list[UUID]:
    now = datetime.now(UTC)
    rows = [
        CallRow(
            id=new_id(),
            org_id=org_id,
            direction="outbound",
            state=CallState.DIALING.value,
            from_number=OURS,
            to_number=THEIRS,
            created_at=now,
            requested_at=now,
        )
        for _ in range(count)
    ]
    async with database.write() as session:
        session.add_all(rows)
    return [row.id for row in rows]


async def _ended_calls(database: Database) -> int:
    async with database.read() as session:
        ended = select(func.count()).where(CallRow.state.in_([state.value for state in FINAL]))
        completed = select(func.count()).where(CarrierEventRow.event == "completed")
        calls = (await session.execute(ended)).scalar_one()
        events = (await session.execute(completed)).scalar_one()
    return calls if calls == events else -abs(calls - events)


def _figures(name: str, run: Run, *, is_stalled: bool) -> Sequence[Figure]:
    reach = STALLED_WITHIN_MS if is_stalled else ANSWERED_WITHIN_MS
    return [
        figure(f"{name}: requests", len(run.waits_ms), "requests"),
        figure(f"{name}: answered p50", percentile(run.waits_ms, 50), "ms"),
        figure(f"{name}: answered p99", percentile(run.waits_ms, 99), "ms", reach=reach),
        figure(f"{name}: answered, slowest", max(run.waits_ms), "ms", reach=reach if is_stalled else None),
        figure(f"{name}: answers with an error", run.failures, "answers", reach=0),
        figure(f"{name}: calls whose end is not known", run.without_end, "calls", reach=0),
    ]


async def run(options: argparse.Namespace, postgres: PostgresServer) -> list[Figure]:
    """Measure."""
    figures: list[Figure] = []
    for kind in ("SQLite", "Postgres"):
        for stall_s in (0.0, options.stall_seconds):
            with tempfile.TemporaryDirectory() as folder:
                address = URL.create("sqlite+aiosqlite", database=f"{folder}/bench.db")
                if kind == "Postgres":
                    address = await asyncio.to_thread(postgres.fresh_database)
                measured = await measure(address, options, stall_s=stall_s)
            name = f"{kind}, stands still for {stall_s:g} s" if stall_s else kind
            figures += _figures(name, measured, is_stalled=bool(stall_s))
    return figures


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--seconds", type=float, default=30.0, help="of each run")
    command_line.add_argument("--calls-per-second", type=float, default=1.0, help="outbound ones, and as many inbound")
    command_line.add_argument("--stall-seconds", type=float, default=6.0)
    options = command_line.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("CRITICAL"))
    postgres = PostgresServer()
    try:
        postgres.start()
        figures = uvloop.run(run(options, postgres))
    finally:
        postgres.remove()
    write_figures(options.json, figures)


if __name__ == "__main__":
    main()
