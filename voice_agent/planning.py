"""What a call needs before it begins: which agent holds it, with which values, and that agent's providers.

The row of the call says which version of which agent; what was built for a version is kept. A call that the database
does not know, or cannot tell of in time, is held by the default agent: a caller is never left waiting for a database
(F40). A call that is about to come is expected: its agent is built, and what it says by name is synthesised, while the
telephone rings.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec
import phonenumbers
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.agents import repository as agents_repository
from voice_agent.agents.documents import agent_of
from voice_agent.agents.files import Agent
from voice_agent.agents.model import AgentDefinition, Language, filled, values_for
from voice_agent.calls import outcome_rows
from voice_agent.calls import repository as calls_repository
from voice_agent.calls.call_tools import CallTools, ToolSubject
from voice_agent.calls.opt_outs import callee_of
from voice_agent.calls.session import CallPlan, StoredAs
from voice_agent.compliance.model import Callee, Purpose
from voice_agent.compliance.rule_pack import Duty, RulePacks
from voice_agent.compliance.rules import duties_of
from voice_agent.errors import DatabaseUnavailable, InvalidRequest, VoiceAgentError
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.phone_numbers import read_number
from voice_agent.pipeline.lines import LineBook
from voice_agent.pipeline.ports import CarrierControl
from voice_agent.pipeline.tools import Tool
from voice_agent.pipeline.turn_settings import OnMachine
from voice_agent.providers import Providers, SharedProviders
from voice_agent.settings import Settings
from voice_agent.storage.cache import CacheService
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AgentVersionRow, CallRow

log = structlog.get_logger(__name__)

PATIENCE_S = 1.0
"""How long a caller who is connected already may wait for the database."""

KEPT_AGENTS = 32
"""Versions whose providers are kept; beyond, those whose last call must be over are released."""

AFTER_CALL_S = 120.0
"""Beyond its longest duration, how long a call may still need its agent: the ringing, the goodbye."""

EXPECTED_AT_ONCE = 4
"""Calls whose lines are synthesised ahead at the same time."""

MOST_EXPECTED = 200
"""Calls that wait for it; what comes beyond is synthesised when it is answered."""


class CallRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a call has to do beside holding a conversation."""

    hears_opt_out: bool = False
    disclosure: str = ""
    """What the law has said first, where the agent brings nothing of its own."""

    on_machine: OnMachine = "continue"
    machine_message: str = ""
    awaits_verdict: bool = False
    answered_by: str = ""


UNKNOWN_CALL = CallRules(hears_opt_out=True)
"""Of a call that the database does not know, or cannot tell of: an opt-out of one is kept until it can."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a call, and with which values."""

    stored: StoredAs
    is_recording_paused: bool
    version: AgentVersionRow | None
    """None: the default agent."""

    variables: dict[str, str]
    country: str = ""
    """ISO 3166 code of whom the agent talks to; empty where it is not known."""

    rules: CallRules
    subject: ToolSubject


class _Ready(msgspec.Struct):
    """A version that can hold calls."""

    agent: Agent
    providers: Providers
    is_own: bool = True
    """Whether the providers are to be closed with it; the default agent's are not."""

    needed_until_s: float = 0.0


class ReadyAgents:
    """The versions that can hold calls in this process, each built once: what was published never changes."""

    def __init__(
        self, shared: SharedProviders, default: Agent, *, clock: Callable[[], float], most: int = KEPT_AGENTS
    ) -> None:
        """Raises SettingsError or AgentDefinitionError for a choice that the default agent cannot be run with."""
        self._shared = shared
        self._clock = clock
        self._most = most
        self.default = _Ready(agent=default, providers=Providers(shared, default), is_own=False)
        self._ready: dict[UUID, _Ready] = {}
        """The one that was used last comes last."""
        self._building: dict[UUID, asyncio.Task[_Ready]] = {}

    def __len__(self) -> int:
        """Return how many versions are kept."""
        return len(self._ready)

    async def of(self, version: AgentVersionRow) -> _Ready:
        """Return a version that can hold a call now, built where it is not yet. Raises VoiceAgentError."""
        ready = self._ready.pop(version.id, None) or await self._built(version)
        self._ready.pop(version.id, None)
        self._ready[version.id] = ready
        ready.needed_until_s = self._after_a_call(ready.agent)
        await self._release()
        return ready

    async def close(self) -> None:
        """Release everything but the default agent. Safe to call twice."""
        await _cancelled(self._building.values())
        while self._ready:
            await _close(self._ready.popitem()[1])

    async def _built(self, version: AgentVersionRow) -> _Ready:
        """Build a version: those who ask at once wait for the same, which goes on where one of them is gone."""
        task = self._building.get(version.id)
        if task is None:
            task = asyncio.create_task(self._build(version), name=f"build-agent-{version.id}")
            self._building[version.id] = task
            task.add_done_callback(lambda done: self._on_built(version.id, done))
        return await asyncio.shield(task)

    async def _build(self, version: AgentVersionRow) -> _Ready:
        agent = await asyncio.to_thread(agent_of, version)  # a dialogue's YAML takes longer than a frame of sound
        if agent == self.default.agent:
            return self.default
        providers = Providers(self._shared, agent)
        try:
            await providers.open()
        except BaseException:
            await providers.close()
            raise
        return _Ready(agent=agent, providers=providers, needed_until_s=self._after_a_call(agent))

    def _after_a_call(self, agent: Agent) -> float:
        return self._clock() + agent.definition.limits.duration_s + AFTER_CALL_S

    def _on_built(self, version_id: UUID, task: "asyncio.Task[_Ready]") -> None:
        del self._building[version_id]
        if not task.cancelled() and task.exception() is None:
            ready = task.result()
            self._ready.setdefault(version_id, ready)  # also where nobody waits for it any more

    async def _release(self) -> None:
        now_s = self._clock()
        unneeded = [key for key, ready in self._ready.items() if ready.needed_until_s < now_s]
        released = [self._ready.pop(key) for key in unneeded[: max(0, len(self._ready) - self._most)]]
        for ready in released:
            await _close(ready)


async def _close(ready: _Ready) -> None:
    if ready.is_own:
        await ready.providers.close()


class CallPlanner:
    """One for the process. `plan` is what `LiveCalls` asks."""

    def __init__(
        self,
        settings: Settings,
        default: Agent,
        database: Database,
        cache: CacheService,
        control: Callable[[str, Language], CarrierControl],
        *,
        packs: RulePacks | None = None,
        tools: CallTools | None = None,
    ) -> None:
        """`control` returns what the call of a SID, in a language, is ended and transferred with.

        `packs` are the laws that are in force, `tools` those tools that know which call they are used in.

        Raises SettingsError or AgentDefinitionError for a choice that the default agent cannot be run with.
        """
        self._database = database
        self._control = control
        self._packs = packs
        self._tools = tools
        self._shared = SharedProviders(settings, cache, {} if packs is None else _disclosures(packs))
        self._agents = ReadyAgents(self._shared, default, clock=time.monotonic)
        self._expected: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(EXPECTED_AT_ONCE)

    @property
    def is_expecting(self) -> bool:
        """Whether something is being made ready for calls to come."""
        return bool(self._expected)

    async def open(self) -> None:
        """Load and connect what the default agent's calls need; the others' are built when a call is expected."""
        await self._shared.open()
        await self._agents.default.providers.open()

    async def close(self) -> None:
        """Release everything. Safe to call twice."""
        await _cancelled(self._expected)
        await self._agents.close()
        await self._agents.default.providers.close()
        await self._shared.close()

    async def plan(self, started: StreamStarted) -> CallPlan:
        """Return what the call of a stream needs. Raises VoiceAgentError where its agent cannot be run."""
        assignment = await self._assignment(started.call_sid)
        ready, variables, country = self._agents.default, {}, ""
        rules = UNKNOWN_CALL if assignment is None else assignment.rules
        if assignment is not None and assignment.version is not None:
            ready = await self._agents.of(assignment.version)
            variables, country = assignment.variables, assignment.country
        definition, providers = ready.agent.definition, ready.providers
        # What a call was placed with was checked then: one that is answered is held even if a value is missing.
        use = filled(
            definition,
            values_for(definition, variables, is_outbound=False),
            country=country,
            disclosure=rules.disclosure,
        )
        lines = await providers.lines(use)
        if rules.machine_message:
            self._foresee(lines, rules.machine_message)
        return CallPlan(
            settings=msgspec.structs.replace(
                providers.turn_settings(use),
                hears_opt_out=rules.hears_opt_out or use.hears_opt_out,
                on_machine=rules.on_machine,
                machine_message=rules.machine_message,
                awaits_verdict=rules.awaits_verdict,
            ),
            speech=lambda: providers.speech(lines),
            mind=providers.mind(use, self._tools_of(use, assignment)),
            control=self._control(started.call_sid, use.language),
            agent=use.name,
            is_recorded=use.recording.enabled,
            is_recording_paused=assignment is not None and assignment.is_recording_paused,
            answered_by=rules.answered_by,
            stored=None if assignment is None else assignment.stored,
        )

    def _tools_of(self, use: AgentDefinition, assignment: Assignment | None) -> tuple[Tool[Any], ...]:
        if self._tools is None or assignment is None:
            return ()
        return self._tools.of(use.tools, assignment.subject)

    def _foresee(self, lines: LineBook, message: str) -> None:
        """Have a machine's message synthesised while the machine talks: nobody waits for it yet."""
        task = asyncio.create_task(lines.prepare([message]), name="machine-message")
        self._expected.add(task)
        task.add_done_callback(self._expected.discard)

    def expect(self, version: AgentVersionRow, variables: Mapping[str, str]) -> None:
        """A call is about to come: have ready what it needs, so that it waits for nothing. Never raises or waits."""
        if len(self._expected) < MOST_EXPECTED:
            task = asyncio.create_task(self._make_ready(version, dict(variables)), name=f"expect-{version.id}")
            self._expected.add(task)
            task.add_done_callback(self._expected.discard)

    async def _make_ready(self, version: AgentVersionRow, variables: dict[str, str]) -> None:
        try:
            async with self._at_once:
                ready = await self._agents.of(version)
                definition = ready.agent.definition
                await ready.providers.foresee(values_for(definition, variables, is_outbound=False))
        except VoiceAgentError as error:
            log.warning("call_not_prepared_ahead", version=str(version.id), error=str(error))

    async def _assignment(self, call_sid: str) -> Assignment | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._stored(call_sid)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("call_held_by_default_agent", call_sid=call_sid, error=type(error).__name__)
            return None

    async def _stored(self, call_sid: str) -> Assignment | None:
        async with self._database.read() as session:
            call = await calls_repository.by_sid(session, call_sid)
            if call is None:
                return None
            version = None
            if call.agent_version_id is not None:
                version = await agents_repository.version(session, call.org_id, call.agent_version_id)
            other = callee_of(call)
            stored = StoredAs(org_id=call.org_id, call_id=call.id)
            return Assignment(
                stored=stored,
                is_recording_paused=call.is_recording_paused,
                version=version,
                variables=call.variables,
                country=country_of(other),
                rules=self._rules(call, other),
                subject=await _subject(session, call, other),
            )

    def _rules(self, call: CallRow, number: str) -> CallRules:
        duties = {} if self._packs is None or call.direction != "outbound" else _duties(self._packs, call, number)
        lines = duties["disclose_ai"].lines if "disclose_ai" in duties else {}
        return CallRules(
            hears_opt_out=call.campaign_id is not None or "opt_out" in duties,
            disclosure=lines.get(call.language, lines.get("en", "")),
            on_machine=msgspec.convert(call.on_machine, OnMachine),
            machine_message=call.machine_message,
            awaits_verdict=call.machine_detection != "off" and call.answered_by is None,
            answered_by=call.answered_by or "",
        )


def _duties(packs: RulePacks, call: CallRow, number: str) -> dict[str, Duty]:
    """Return what the law asks of a call, by key. The number alone says where somebody is: nothing is looked up."""
    callee = Callee(e164=number, country=country_of(number))
    found = duties_of(callee, Purpose(call.purpose), call.created_at, packs)
    return {duty.key: duty for _, duty in found}


def _disclosures(packs: RulePacks) -> dict[str, tuple[str, ...]]:
    """Return every sentence that a law may have said first, by language."""
    lines: dict[str, dict[str, None]] = {}
    for pack in (*packs.packs, packs.default):
        for duty in pack.duties:
            for language, line in duty.lines.items():
                lines.setdefault(language, {})[line] = None
    return {language: tuple(each) for language, each in lines.items()}


async def _subject(session: AsyncSession, call: CallRow, number: str) -> ToolSubject:
    zone = ""
    if call.campaign_contact_id is not None:
        zone = await outcome_rows.zone_of(session, call.org_id, call.campaign_contact_id)
    kinds = await outcome_rows.dispositions(session, call.org_id)
    return ToolSubject(
        call_id=call.id,
        is_of_campaign=call.campaign_id is not None,
        zone=zone or _zone_of(number),
        dispositions={each.key: each.label for each in kinds},
    )


def _zone_of(number: str) -> str:
    """Return a time zone in which a number may be, UTC where nobody knows."""
    try:
        known = read_number(number)
    except InvalidRequest:
        return "UTC"
    main = _MAIN_ZONES.get(known.country, "")
    return main if main in known.zones else next(iter(known.zones), "UTC")


_MAIN_ZONES = {
    "CL": "America/Santiago",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "MX": "America/Mexico_City",
    "PT": "Europe/Lisbon",
}
"""Where most people are whose mobile number does not tell: islands have zones of their own."""


def country_of(number: str) -> str:
    """Return the ISO 3166 code of a number's country; empty for one that is withheld."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number, None)) or ""
    except phonenumbers.NumberParseException:
        return ""


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End tasks of ours and wait for their end."""
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
