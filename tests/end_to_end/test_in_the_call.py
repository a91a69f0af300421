"""What a campaign's call does beside talking, on real sockets: voicemail, opt-outs, a callback."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec
import pytest
from sqlalchemy import select, update

from tests.calls.stored_calls import SPAIN
from tests.campaigns.stored_campaigns import a_stored_campaign
from tests.contracts.eventually import eventually
from tests.end_to_end.stand import AGENT, Stand, standing
from tests.end_to_end.test_carrier_recording import a_callee, a_client, the_end
from tests.jobs.world import until
from voice_agent.calls.event_log import EventLog, LoggedEvent, read_event_log
from voice_agent.calls.record import call_files
from voice_agent.calls.replay import replay
from voice_agent.campaigns.model import CampaignState
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers.scenario import HangUp, Press, Say, Silence, Step, WaitForAgent
from voice_agent.sandbox.carrier import Callee
from voice_agent.sandbox.carrier.machines import Nature
from voice_agent.sandbox.providers import Dialogue, Reply, Rule, ToolRequest
from voice_agent.storage.tables import CallRow, OrganisationRow, SuppressionRow

MESSAGE = "This is the practice with a message for Ana. Please call us back."
DISCLOSED = "This is an automated call, and you are talking to an artificial intelligence."
OPTED_OUT = "I have taken your number off our list. We will not call you again. Goodbye."
TOOLS = AGENT.replace("tools: [end_call]", "tools: [end_call, opt_out, book_callback]")
SPANISH = AGENT.replace("language: en", "language: es")
DIALOGUE = Dialogue(
    rules=(
        Rule(Reply("", (ToolRequest("opt_out"),)), contains="enough of you"),
        Rule(Reply("Tomorrow at eleven, then."), tool="book_callback"),
        Rule(Reply("", (ToolRequest("book_callback", '{"when": "tomorrow 11:00"}'),)), contains="call me tomorrow"),
    ),
    replies=(Reply("Certainly."),),
)


class Dialled(msgspec.Struct, frozen=True):
    """A call of a campaign that is over."""

    row: CallRow
    log: EventLog
    suppressions: list[SuppressionRow]

    @property
    def said(self) -> list[str]:
        return [action.text for _, action in self._actions() if isinstance(action, act.Speak)]

    def line_of(self, kind: type[act.Action] | type[ev.Event]) -> int:
        """Return where in the log something was decided, or happened, for the first time."""
        decided = [entry.line for entry, action in self._actions() if isinstance(action, kind)]
        happened = [entry.line for entry in self.log.entries if isinstance(entry.event, kind)]
        return min(decided + happened)

    def _actions(self) -> list[tuple[LoggedEvent, act.AnyAction]]:
        return [(entry, action) for entry in self.log.entries for action in entry.actions]


async def dial(stand: Stand, *steps: Step, nature: Nature = "human", on_machine: str = "speak") -> Dialled:
    """Have a call of a campaign placed to somebody who follows the steps, and wait for all that comes of it."""
    stand.doubles.converse(DIALOGUE)
    person = await a_callee(stand, *steps)
    callee = Callee(ring_s=1.0, person=lambda: person, nature=nature, detection_s=1.0, message_s=6.0)
    stand.carrier.register(SPAIN, callee)
    async with aiohttp.ClientSession() as http:
        client = await a_client(stand, http)
        placed = await client.ask("POST", "/calls", {"to": SPAIN, "machine_detection": "message_end"})
        # Paused, so that nobody but us dials for it.
        campaign = await a_stored_campaign(stand.product.database, await _organisation(stand), CampaignState.PAUSED)
        of_a_campaign = {"campaign_id": campaign.id, "on_machine": on_machine, "machine_message": MESSAGE}
        call_id = UUID(placed["id"])
        async with stand.product.database.write() as session:
            await session.execute(update(CallRow).where(CallRow.id == call_id).values(of_a_campaign))
        await the_end(stand, placed["call_sid"])
    files = call_files(stand.data_dir, placed["call_sid"])
    await eventually(lambda: files.latency.exists() and read_event_log(files.event_log).is_complete)
    database = stand.product.database

    async def is_filed() -> bool:
        async with database.read() as session:
            row = await session.get_one(CallRow, call_id)
            return row.ended_at is not None and row.first_audio_at is not None

    await until(is_filed)
    assert replay(files.event_log).is_same
    async with database.read() as session:
        row = await session.get_one(CallRow, call_id)
        return Dialled(row, read_event_log(files.event_log), list(await session.scalars(select(SuppressionRow))))


async def _organisation(stand: Stand) -> UUID:
    async with stand.product.database.read() as session:
        return (await session.scalars(select(OrganisationRow.id))).one()


def is_opted_out_in_order(dialled: Dialled) -> bool:
    """Tell whether the suppression was committed before the caller was told, and that before the agent hung up."""
    (recorded,) = [entry.event for entry in dialled.log.entries if isinstance(entry.event, ev.OptOutRecorded)]
    return recorded.is_committed and dialled.line_of(act.RecordOptOut) < dialled.line_of(
        ev.OptOutRecorded
    ) < dialled.line_of(act.HangUp)


@pytest.fixture
async def tooled(tmp_path: Path) -> AsyncIterator[Stand]:
    async with standing(tmp_path, agent=TOOLS) as stand:
        yield stand


async def test_a_voicemail_hears_its_message_after_the_beep_and_nobody_talks_with_it(stand: Stand) -> None:
    greeting = Say(text="You have reached Ana. Please leave a message after the tone.")
    dialled = await dial(stand, greeting, Silence(seconds=20), nature="machine")

    assert dialled.said == [DISCLOSED, DISCLOSED, MESSAGE]
    assert (dialled.row.outcome, dialled.row.answered_by) == ("voicemail", "machine_end_beep")
    assert dialled.row.end_reason == "machine"
    assert dialled.row.message_left_at is not None
    assert dialled.row.message_left_at > dialled.log.header.started_at + timedelta(seconds=6)


async def test_a_machine_that_is_to_be_hung_up_on_is(stand: Stand) -> None:
    dialled = await dial(stand, Silence(seconds=20), nature="machine", on_machine="hang_up")

    assert (dialled.row.outcome, dialled.row.end_reason) == ("voicemail", "machine")
    assert dialled.row.message_left_at is None


async def test_an_opt_out_in_english_is_in_force_before_the_agent_hangs_up(stand: Stand) -> None:
    dialled = await dial(stand, WaitForAgent(), Say(text="please take me off your list"), WaitForAgent())

    assert dialled.said[-1] == OPTED_OUT
    assert is_opted_out_in_order(dialled)
    assert (dialled.row.end_reason, dialled.row.is_opted_out, dialled.row.outcome) == ("opted_out", True, "human")
    (suppression,) = dialled.suppressions
    assert (suppression.e164, suppression.source) == (SPAIN, "call")
    assert suppression.evidence is not None
    assert suppression.evidence["call_id"] == str(dialled.row.id)
    assert suppression.evidence["words"] == "please take me off your list"


async def test_an_opt_out_in_spanish_is_too(tmp_path: Path) -> None:
    async with standing(tmp_path, agent=SPANISH) as stand:
        dialled = await dial(stand, WaitForAgent(), Say(text="no me llamen más"), WaitForAgent())

    assert dialled.said[-1].endswith("No le volveremos a llamar. Adiós.")
    assert is_opted_out_in_order(dialled)
    assert len(dialled.suppressions) == 1


async def test_key_nine_means_the_same_also_over_the_disclosure(stand: Stand) -> None:
    dialled = await dial(stand, WaitForAgent(until="begins"), Press(keys="9"), WaitForAgent())

    assert dialled.said[-1] == OPTED_OUT
    assert is_opted_out_in_order(dialled)
    assert [row.evidence and row.evidence["how"] for row in dialled.suppressions] == ["key"]


async def test_whoever_says_it_and_hangs_up_is_not_called_again_either(stand: Stand) -> None:
    dialled = await dial(stand, WaitForAgent(), Say(text="stop calling me"), Silence(seconds=0.3), HangUp())

    assert dialled.row.is_opted_out
    assert len(dialled.suppressions) == 1


async def test_what_only_the_model_understands_counts_as_well(tooled: Stand) -> None:
    dialled = await dial(tooled, WaitForAgent(), Say(text="I have had enough of you"), WaitForAgent())

    assert is_opted_out_in_order(dialled)
    assert [row.evidence and row.evidence["how"] for row in dialled.suppressions] == ["tool"]


async def test_a_callback_is_booked_in_the_callees_own_time(tooled: Stand) -> None:
    dialled = await dial(tooled, WaitForAgent(), Say(text="please call me tomorrow"), WaitForAgent(), HangUp())

    assert "".join(dialled.said).endswith("Tomorrow at eleven, then.")
    assert dialled.row.callback_at is not None
    assert dialled.row.callback_at > datetime.now(UTC)
    assert dialled.suppressions == []
