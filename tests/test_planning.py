"""Who holds a call: its version from the database, built once; what is ready before the telephone is answered."""

import asyncio
import gc
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import make_url, update

from tests.calls.stored_calls import NOW, SID, a_call, an_organisation
from tests.contracts.eventually import eventually
from tests.fakes.call_control import FakeCallControl
from voice_agent.agents.files import Agent, load_agent
from voice_agent.agents.model import RecordingRule, Variable
from voice_agent.agents.service import AgentService
from voice_agent.auth.principal import system
from voice_agent.calls.call_tools import CallTools
from voice_agent.calls.session import CallPlan
from voice_agent.compliance.packs import built_in
from voice_agent.errors import SettingsError
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.planning import AFTER_CALL_S, CallPlanner, ReadyAgents, country_of
from voice_agent.providers import SharedProviders
from voice_agent.settings import PipelineSettings, Settings
from voice_agent.storage.cache import InProcessCache
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import AgentVersionRow, CallRow

STARTED = StreamStarted(stream_sid="MZ1", call_sid=SID, account_sid="AC1", parameters={})
LOCAL = Settings(pipeline=PipelineSettings(voice_activity="webrtc", speech_to_text="local", text_to_speech="local"))


def _agent(greeting: str, **changes: object) -> Agent:
    """Return the demo's receptionist with another greeting."""
    agent = load_agent()
    lines = msgspec.structs.replace(agent.definition.lines, greeting=greeting)
    return msgspec.structs.replace(agent, definition=msgspec.structs.replace(agent.definition, lines=lines, **changes))


ANA = _agent(
    "Hello {{name}}.",
    first_lines={"en-ES": "Hola, I mean hello, {{name}}."},
    variables={"name": Variable(default="you")},
)


async def _published(database: Database, agent: Agent, org_id: UUID, name: str) -> AgentVersionRow:
    agents = AgentService(lambda: NOW)
    async with database.write() as session:
        row, _ = await agents.create(session, system(org_id, "test"), name, agent)
        return await agents.publish(session, system(org_id, "test"), row.id)


async def _call_of(database: Database, version: AgentVersionRow, **variables: str) -> None:
    async with database.write() as session:
        call = a_call(version.org_id, call_sid=SID)
        call.agent_version_id, call.variables = version.id, variables
        session.add(call)


@pytest.fixture
async def planner(database: Database) -> AsyncIterator[CallPlanner]:
    cache = InProcessCache(clock=lambda: 0.0)
    planner = CallPlanner(LOCAL, load_agent(), database, cache, lambda _, __: FakeCallControl())
    await planner.open()
    yield planner
    await planner.close()
    await planner.close()
    gc.collect()


def _greeting(plan: CallPlan) -> str:
    """Return the greeting, which is ready to be heard."""
    greeting = plan.settings.lines.greeting
    assert plan.speech().lines.find(greeting) is not None
    return greeting


async def test_a_call_is_held_by_the_version_it_points_at_with_its_own_values(
    planner: CallPlanner, database: Database
) -> None:
    unrecorded = msgspec.structs.replace(ANA.definition, recording=RecordingRule(enabled=False))
    agent = msgspec.structs.replace(ANA, definition=unrecorded)
    version = await _published(database, agent, await an_organisation(database), "Ana")
    await _call_of(database, version, name="Ana {{name}}")

    plan = await planner.plan(STARTED)
    assert _greeting(plan) == "Hola, I mean hello, Ana {{name}}."
    assert not plan.is_recorded


async def test_a_call_that_nobody_knows_is_held_by_the_default_agent(planner: CallPlanner) -> None:
    plan = await planner.plan(STARTED)
    assert _greeting(plan) == load_agent().definition.lines.greeting
    assert plan.is_recorded


async def test_f40_a_call_is_held_though_the_database_is_away() -> None:
    away = Database(make_url("postgresql+asyncpg://nobody:nothing@127.0.0.1:1/none"))
    cache = InProcessCache(clock=lambda: 0.0)
    planner = CallPlanner(LOCAL, load_agent(), away, cache, lambda _, __: FakeCallControl())
    await planner.open()
    try:
        assert _greeting(await planner.plan(STARTED)) == load_agent().definition.lines.greeting
    finally:
        await planner.close()
        await away.close()
        gc.collect()


async def test_what_an_expected_call_says_is_synthesised_before_it_is_answered(sqlite: Database) -> None:
    cache = InProcessCache(clock=lambda: 0.0)
    planner = CallPlanner(LOCAL, load_agent(), sqlite, cache, lambda _, __: FakeCallControl())
    await planner.open()
    try:
        version = await _published(sqlite, ANA, await an_organisation(sqlite), "Ana")
        planner.expect(version, {"name": "Ana"})
        await eventually(lambda: not planner.is_expecting)
        before = cache.size_bytes
        await _call_of(sqlite, version, name="Ana")

        assert _greeting(await planner.plan(STARTED)) == "Hola, I mean hello, Ana."
        assert cache.size_bytes == before
    finally:
        await planner.close()
        gc.collect()


async def test_an_agent_that_cannot_be_run_here_disturbs_nobody(planner: CallPlanner, database: Database) -> None:
    scriptless = msgspec.structs.replace(ANA, dialogue=None)
    version = await _published(database, scriptless, await an_organisation(database), "Ana")
    planner.expect(version, {})
    await eventually(lambda: not planner.is_expecting)
    await _call_of(database, version)

    with pytest.raises(SettingsError, match="dialogue"):
        await planner.plan(STARTED)


async def test_a_version_is_built_once_and_released_when_its_last_call_must_be_over(sqlite: Database) -> None:
    now_s = [0.0]
    shared = SharedProviders(LOCAL, InProcessCache(clock=lambda: 0.0))
    await shared.open()
    agents = ReadyAgents(shared, load_agent(), clock=lambda: now_s[0], most=1)
    try:
        org_id = await an_organisation(sqlite)
        first = await _published(sqlite, ANA, org_id, "Ana")
        second = await _published(sqlite, _agent("Good evening."), org_id, "Eva")

        a, b = await asyncio.gather(agents.of(first), agents.of(first))
        assert a is b is await agents.of(first)
        await agents.of(second)
        assert len(agents) == 2  # a call may still need the first

        now_s[0] = ANA.definition.limits.duration_s + AFTER_CALL_S + 1.0
        assert await agents.of(second)
        assert len(agents) == 1
        assert await agents.of(first) is not a
    finally:
        await agents.close()
        await shared.close()
        gc.collect()


async def test_who_gives_up_waiting_does_not_stop_the_building(sqlite: Database) -> None:
    shared = SharedProviders(LOCAL, InProcessCache(clock=lambda: 0.0))
    await shared.open()
    agents = ReadyAgents(shared, load_agent(), clock=lambda: 0.0)
    try:
        version = await _published(sqlite, ANA, await an_organisation(sqlite), "Ana")
        waiting = asyncio.create_task(agents.of(version))
        await asyncio.sleep(0)
        waiting.cancel()
        await eventually(lambda: len(agents) == 1)
    finally:
        await agents.close()
        await shared.close()
        gc.collect()


async def test_the_default_agents_own_version_is_not_built_twice(sqlite: Database) -> None:
    shared = SharedProviders(LOCAL, InProcessCache(clock=lambda: 0.0))
    agents = ReadyAgents(shared, load_agent(), clock=lambda: 0.0)
    version = await _published(sqlite, load_agent(), await an_organisation(sqlite), "Demo")

    assert await agents.of(version) is agents.default
    await agents.close()


@pytest.mark.parametrize(
    ("number", "country"), [("+34612345678", "ES"), ("+353851234567", "IE"), ("anonymous", ""), ("+999", "")]
)
def test_whom_the_agent_talks_to_is_known_by_the_number(number: str, country: str) -> None:
    assert country_of(number) == country


# --- campaigns --------------------------------------------------------------------------------------------------
@pytest.fixture
async def lawful(sqlite: Database) -> AsyncIterator[CallPlanner]:
    """A planner that knows the law and has the tools that know their call."""
    planner = CallPlanner(
        LOCAL,
        load_agent(),
        sqlite,
        InProcessCache(clock=lambda: 0.0),
        lambda _, __: FakeCallControl(),
        packs=built_in(),
        tools=CallTools(sqlite, clock=lambda: NOW),
    )
    await planner.open()
    yield planner
    await planner.close()
    gc.collect()


async def _planned(database: Database, planner: CallPlanner, agent: Agent = ANA, **row: object) -> CallPlan:
    version = await _published(database, agent, await an_organisation(database), "Ana")
    await _call_of(database, version, name="Ana")
    async with database.write() as session:
        await session.execute(update(CallRow).values(agent_version_id=version.id, **row))
    return await planner.plan(STARTED)


def _tools(plan: CallPlan) -> list[str]:
    return [tool.name for tool in plan.mind.tools.definitions]


DISCLOSED = "This is an automated call, and you are talking to an artificial intelligence."


async def test_what_the_law_has_said_first_is_said_and_ready_where_the_agent_brings_nothing(
    sqlite: Database, lawful: CallPlanner
) -> None:
    silent = msgspec.structs.replace(ANA.definition, disclosure="", recording=RecordingRule())
    plan = await _planned(sqlite, lawful, msgspec.structs.replace(ANA, definition=silent))
    assert plan.settings.disclosure == DISCLOSED
    assert plan.speech().lines.find(DISCLOSED) is not None


async def test_an_agents_own_disclosure_stands(sqlite: Database, lawful: CallPlanner) -> None:
    own = msgspec.structs.replace(ANA.definition, disclosure="I am a machine.", recording=RecordingRule())
    plan = await _planned(sqlite, lawful, msgspec.structs.replace(ANA, definition=own))
    assert plan.settings.disclosure == "I am a machine."


async def test_whoever_calls_us_is_told_what_the_agent_says_and_no_more(sqlite: Database, lawful: CallPlanner) -> None:
    silent = msgspec.structs.replace(ANA.definition, disclosure="", recording=RecordingRule())
    plan = await _planned(sqlite, lawful, msgspec.structs.replace(ANA, definition=silent), direction="inbound")
    assert plan.settings.disclosure == ""


async def test_a_campaigns_call_hears_opt_outs_and_knows_what_to_do_at_a_machine(
    sqlite: Database, lawful: CallPlanner
) -> None:
    plan = await _planned(
        sqlite,
        lawful,
        campaign_id=new_id(),
        on_machine="speak",
        machine_message="Call us, Ana.",
        machine_detection="message_end",
    )
    settings = plan.settings
    assert (settings.hears_opt_out, settings.on_machine, settings.machine_message, settings.awaits_verdict) == (
        True, "speak", "Call us, Ana.", True,
    )  # fmt: skip
    lines = plan.speech().lines
    await eventually(lambda: lines.find("Call us, Ana.") is not None)


async def test_a_verdict_that_came_before_the_stream_is_in_the_plan(sqlite: Database, lawful: CallPlanner) -> None:
    plan = await _planned(sqlite, lawful, machine_detection="enable", answered_by="machine_start")
    assert (plan.answered_by, plan.settings.awaits_verdict) == ("machine_start", False)


async def test_opt_outs_are_heard_where_the_law_or_the_agent_says_so(sqlite: Database, lawful: CallPlanner) -> None:
    assert not (await _planned(sqlite, lawful)).settings.hears_opt_out


async def test_american_marketing_hears_them(sqlite: Database, lawful: CallPlanner) -> None:
    plan = await _planned(sqlite, lawful, to_number="+13055550100", purpose="marketing")
    assert plan.settings.hears_opt_out


async def test_an_agent_may_hear_them_in_every_call(sqlite: Database, lawful: CallPlanner) -> None:
    hearing = msgspec.structs.replace(ANA.definition, hears_opt_out=True)
    plan = await _planned(sqlite, lawful, msgspec.structs.replace(ANA, definition=hearing), direction="inbound")
    assert plan.settings.hears_opt_out


async def test_a_call_that_nobody_knows_hears_them_because_it_may_be_a_campaigns(lawful: CallPlanner) -> None:
    assert (await lawful.plan(STARTED)).settings.hears_opt_out


async def test_tools_are_those_that_the_agent_names_and_the_call_has(sqlite: Database, lawful: CallPlanner) -> None:
    named = ("end_call", "opt_out", "book_callback", "set_disposition", "note")
    agent = msgspec.structs.replace(ANA, definition=msgspec.structs.replace(ANA.definition, tools=named))
    assert _tools(await _planned(sqlite, lawful, agent)) == ["end_call", "opt_out", "note"]


async def test_in_a_campaign_a_callback_is_booked_in_the_contacts_own_time(
    sqlite: Database, lawful: CallPlanner
) -> None:
    named = msgspec.structs.replace(ANA.definition, tools=("book_callback",))
    plan = await _planned(
        sqlite,
        lawful,
        msgspec.structs.replace(ANA, definition=named),
        campaign_id=new_id(),
        campaign_contact_id=new_id(),
    )
    (tool,) = plan.mind.tools.definitions
    assert "It is Wednesday 2026-11-25 13:00 for them" in tool.description
    withheld = await _planned_again(sqlite, lawful, to_number="anonymous")
    assert "12:00 for them" in withheld.mind.tools.definitions[0].description


async def _planned_again(database: Database, planner: CallPlanner, **row: object) -> CallPlan:
    async with database.write() as session:
        await session.execute(update(CallRow).values(**row))
    return await planner.plan(STARTED)
