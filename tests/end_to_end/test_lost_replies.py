"""F36: requests for calls whose answers are lost, against the carrier double over sockets.

Nobody asks twice for a call, and what became of each is found out: by looking, because here no callback comes either.
"""

from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import select

from tests.api.world import api_world, now
from tests.calls.stored_calls import POLICY
from voice_agent.auth.principal import system
from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.calls.reconciler import Reconciler, Waits
from voice_agent.calls.service import CallOrder, CallPorts, CallService
from voice_agent.integrations.twilio.addresses import TwilioAddresses
from voice_agent.integrations.twilio.service import TwilioService
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.sandbox.carrier import Callee, Carrier, CarrierSettings
from voice_agent.sandbox.carrier.faults import CreateFaults
from voice_agent.sandbox.carrier.services import CallbackFaults
from voice_agent.settings import TwilioSettings
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

CALLS = 60
SETTINGS = CarrierSettings(
    create_faults=CreateFaults(reply_lost=0.4, reset=0.2, failed_after=0.2, failed_before=0.2, seed=36),
    callback_faults=CallbackFaults(lost=1.0),
)
RINGING = Callee(outcome="no-answer")


async def test_f36_no_request_is_repeated_and_all_are_found_or_given_up(sqlite: Database, tmp_path: Path) -> None:
    async with api_world(sqlite, tmp_path) as world, Carrier(settings=SETTINGS) as carrier:
        twilio = TwilioService(
            TwilioSettings(
                account_sid=SETTINGS.account_sid,
                auth_token=SecretStr(SETTINGS.auth_token),
                base_url=carrier.base_url,
                calls_per_second=100,
            )
        )
        await twilio.open()
        ports = CallPorts(
            database=sqlite,
            compliance=world.compliance,
            carrier=twilio,
            agents=world.directory,
            addresses=TwilioAddresses("https://calls.example.org"),
            jobs=JobOutbox(),
        )
        policy = CallPolicy(
            allowed_countries=POLICY.allowed_countries, daily_spend_cap=10_000 * MICROS, cost_per_minute=1
        )
        calls = CallService(ports, world.processor, default_policy=policy, clock=now)
        principal = system(await world.organisation(), "test")
        for number in range(CALLS):
            to = f"+3461234{number:04}"
            carrier.register(to, RINGING)
            call = await calls.start(principal, CallOrder(to=to))
            assert call.state == "unknown"

        later = now() + timedelta(seconds=61)
        waits = Waits(again_s=0)
        reconciler = Reconciler(sqlite, twilio, world.processor, clock=lambda: later, waits=waits)
        await reconciler.reconcile()
        await reconciler.reconcile()

        at_carrier = {record.sid: record.to for record in (each.record for each in carrier.list_calls())}
        async with sqlite.read() as session:
            rows = (await session.scalars(select(CallRow))).all()
        assert len(rows) == CALLS
        assert len(set(at_carrier.values())) == len(at_carrier), "nobody was called twice"
        assert {row.call_sid: row.to_number for row in rows if row.call_sid} == at_carrier
        assert {row.state for row in rows if row.call_sid is None} == {"not_placed"}
        await twilio.close()
