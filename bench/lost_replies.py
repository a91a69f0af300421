"""Requests for calls whose answers never come: the calls exist, or do not, and nobody may be called twice.

The product's own parts (CallService, TwilioService, Reconciler) on a database, against the sandbox carrier on a real
socket. Some replies are lost after the call was created, some requests before; no status callback arrives either, so
that looking the calls up is all there is. The reconciler's clock is moved instead of waited for. Judged is what the
carrier's own journal says was accepted.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import structlog
import uvloop
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncSession

from bench.figures import Figure, figure, parser, write_figures
from voice_agent.calls.model import CallState
from voice_agent.calls.policy import CallPolicy
from voice_agent.calls.processor import Answering, CallProcessor
from voice_agent.calls.reconciler import Reconciler, Waits
from voice_agent.calls.service import CallPorts, CallService, ChosenAgent
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import NotFound
from voice_agent.integrations.twilio.addresses import TwilioAddresses, call_of
from voice_agent.integrations.twilio.service import TwilioService
from voice_agent.sandbox.carrier import Carrier, CarrierSettings, CreateFault, CreateFaults
from voice_agent.sandbox.carrier.journal import CallAccepted, RestAnswered
from voice_agent.settings import TwilioSettings
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, OrganisationRow

OURS = "+34910000000"
NOBODY = "http://127.0.0.1:9"
"""Where status callbacks go: nobody listens there."""

PASSES = 3
NUMBERS = 200
CALLS_PER_SECOND = 20.0
"""Each number is called several times, ten seconds apart: calls to one number have to be told apart by their moments.
The carrier tells those in whole seconds, so that two within a second could not be; the path of the answer's webhook
tells them apart then.
"""


class Result(msgspec.Struct):
    """What became of the requests."""

    asked: int = 0
    posts: int = 0
    """Requests for a call that reached the carrier."""

    repeated: int = 0
    """Accepted requests beyond the first, for one call of ours."""

    found: int = 0
    """Calls that exist and were found."""

    not_placed: int = 0
    """Calls that do not exist, and are known not to."""

    wrong: int = 0
    """Calls of which the database says something else than the carrier's journal."""


class _Nothing:
    """Implements the ports of calls that are not used here."""

    async def answering(self, session: AsyncSession, number: str) -> Answering:  # noqa: ARG002 - the port's shape
        """Nobody calls in."""
        raise NotFound("nobody answers here")

    async def choose(
        self,
        session: AsyncSession,  # noqa: ARG002 - the port's shape
        org_id: UUID,  # noqa: ARG002
        agent_id: UUID | None,  # noqa: ARG002
        variables: Mapping[str, str],  # noqa: ARG002
    ) -> ChosenAgent:
        """Calls are written down with none."""
        raise NotFound("there is no agent here")

    async def caller_number(self, session: AsyncSession, org_id: UUID, wanted: str) -> str:  # noqa: ARG002
        """Return our only number."""
        return OURS

    async def connecting_line(self, session: AsyncSession, call: CallRow) -> str:  # noqa: ARG002
        """Nobody is handed over."""
        return ""

    async def request(self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str) -> None:
        """Leave the work undone."""


async def lose(database: Database, *, lost: int, resets: int) -> Result:
    """Ask for calls, lose every reply, and reconcile; `database` has its schema."""
    account = CarrierSettings(account_sid="AC" + "0" * 32, create_faults=CreateFaults(reply_lost=1.0))
    later = timedelta()
    async with Carrier(account) as carrier:
        settings = TwilioSettings.model_validate(
            {
                "account_sid": account.account_sid,
                "auth_token": account.auth_token,
                "base_url": carrier.base_url,
                "calls_per_second": CALLS_PER_SECOND,
            }
        )
        async with TwilioService(settings) as twilio:
            nothing = _Nothing()
            processor = CallProcessor(database, twilio, nothing, policy=CallPolicy())
            ports = CallPorts(
                database=database,
                compliance=ComplianceService(built_in(), clock=lambda: datetime.now(UTC)),
                carrier=twilio,
                agents=nothing,
                addresses=TwilioAddresses(NOBODY),
                jobs=nothing,
            )
            calls = CallService(ports, processor, default_policy=CallPolicy(), clock=lambda: datetime.now(UTC))
            reconciler = Reconciler(database, twilio, processor, clock=lambda: datetime.now(UTC) + later)
            try:
                ids = await _written_down(database, lost + resets)
                for number, call_id in enumerate(ids):
                    # Resets are spread among the lost replies.
                    is_reset = number * resets // len(ids) != (number + 1) * resets // len(ids)
                    carrier.create_faults.order(CreateFault.RESET if is_reset else CreateFault.REPLY_LOST)
                    await calls.place(call_id)
                for _ in range(PASSES):
                    later += timedelta(seconds=Waits().unknown_s + 1)
                    await reconciler.reconcile()
            finally:
                await processor.close()
        return await _judged(database, carrier, ids)


async def _written_down(database: Database, calls: int) -> list[UUID]:
    now = datetime.now(UTC)
    async with database.write() as session:
        organisation = OrganisationRow(id=new_id(), name="Bench", created_at=now)
        session.add(organisation)
        await session.flush()
        rows = [
            CallRow(
                id=new_id(),
                org_id=organisation.id,
                direction="outbound",
                state=CallState.INTENT.value,
                from_number=OURS,
                to_number=f"+346{number % NUMBERS:08}",
                language="en",
                created_at=now,
            )
            for number in range(calls)
        ]
        session.add_all(rows)
    return [row.id for row in rows]


async def _judged(database: Database, carrier: Carrier, ids: list[UUID]) -> Result:
    accepted = [entry for entry in carrier.journal if isinstance(entry, CallAccepted)]
    of_call = Counter(call_of(entry.url) for entry in accepted)
    sids = {call_of(entry.url): entry.call_sid for entry in accepted}
    answered = [entry for entry in carrier.journal if isinstance(entry, RestAnswered)]
    result = Result(
        asked=len(ids),
        posts=sum(entry.method == "POST" and entry.path.endswith("/Calls.json") for entry in answered),
        repeated=sum(count - 1 for count in of_call.values()),
    )
    async with database.read() as session:
        for call_id in ids:
            call = await session.get_one(CallRow, call_id)
            if call_id in sids and call.call_sid == sids[call_id]:
                result.found += 1
            elif call_id not in sids and call.state == CallState.NOT_PLACED:
                result.not_placed += 1
            else:
                result.wrong += 1
    return result


async def measure(lost: int, resets: int) -> list[Figure]:
    """Return the figures, on a fresh SQLite database."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(URL.create("sqlite+aiosqlite", database=f"{folder}/bench.db"))
        await database.migrate()
        try:
            result = await lose(database, lost=lost, resets=resets)
        finally:
            await database.close()
    return [
        figure("calls asked for whose answer never came", result.asked, "calls"),
        figure("lost replies: requests beyond one for each call", result.posts - result.asked, "requests", reach=0),
        figure("lost replies: people called twice", result.repeated, "calls", reach=0),
        figure("lost replies: calls that exist and were not found", lost - result.found, "calls", reach=0),
        figure("lost requests: not recognised as such", resets - result.not_placed, "calls", reach=0),
        figure("lost replies: calls mistaken for another", result.wrong, "calls", reach=0),
    ]


def main() -> None:
    """Measure and report."""
    command_line: argparse.ArgumentParser = parser(__doc__ or "")
    command_line.add_argument("--lost", type=int, default=500)
    command_line.add_argument("--resets", type=int, default=100)
    options = command_line.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    write_figures(options.json, uvloop.run(measure(options.lost, options.resets)))


if __name__ == "__main__":
    main()
