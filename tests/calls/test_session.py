"""A session: what the stream tells reaches the conversation and the record, and the call ends as one thing."""

import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.calls.call_world import SETTINGS
from tests.calls.live_world import Providers, Wire, make_service
from tests.contracts.eventually import eventually
from tests.fakes.text_to_speech import tone
from voice_agent.calls import session
from voice_agent.calls.event_log import EventLog, read_event_log
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.session import CallSession
from voice_agent.calls.spool import Spool
from voice_agent.errors import CarrierError, ProviderBusy
from voice_agent.media_stream.connection import CloseReason, PlayoutClock
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.ports import HeardOptOut

CALL = "CA" + "0" * 31 + "1"


class Held:
    """A live call over fakes."""

    def __init__(self, spool: Spool, data_dir: Path) -> None:
        self.providers = Providers()
        self.calls: LiveCalls = make_service(spool, data_dir, providers=self.providers)
        self.files: CallFiles = call_files(data_dir, CALL)
        self.wire = Wire(self.calls, PlayoutClock())
        self._spool = spool

    def start(self) -> None:
        self.wire.start(CALL, self.calls.issue_ticket(CALL))

    @property
    def session(self) -> CallSession:
        return self.calls._live[CALL]

    def spoken(self) -> list[str]:
        """Return what the synthesiser of the newest call was given."""
        return [piece for pieces in self.providers.tts.streams[-1].spoken.values() for piece in pieces]

    async def log(self) -> EventLog:
        """Return the call's log, once the call is over and its files are written."""
        await eventually(lambda: len(self.calls) == 0)
        self._spool.close()
        return read_event_log(self.files.event_log)


@pytest.fixture
def spool() -> Iterator[Spool]:
    with Spool() as running:
        yield running


@pytest.fixture
async def held(spool: Spool, tmp_path: Path) -> AsyncIterator[Held]:
    held = Held(spool, tmp_path)
    held.start()
    await eventually(lambda: held.providers.stt.streams)
    yield held
    if not held.wire.connection.is_closed:
        held.wire.stop()
    await held.calls.close()


def _kinds(log: EventLog) -> list[type[ev.AnyEvent]]:
    return [type(entry.event) for entry in log.entries]


async def test_the_agents_voice_goes_to_the_caller_and_marks_come_back_as_events(held: Held) -> None:
    await eventually(lambda: held.wire.socket.sent)
    held.wire.press("5")
    held.wire.stop()
    log = await held.log()
    assert _kinds(log)[:3] == [ev.CallStarted, ev.SynthesisStarted, ev.PlaybackStarted]
    assert ev.DigitPressed in _kinds(log)
    assert log.entries[-1].event == ev.CallEnded(at=log.entries[-1].event.at, reason="stopped")


async def test_the_callers_voice_goes_to_recognition_and_into_the_recording(held: Held) -> None:
    for _ in range(25):
        held.wire.media(tone(20))
    held.wire.stop()
    await held.log()
    assert bytes(held.providers.stt.streams[0].audio) == tone(20) * 25
    assert held.files.recording.stat().st_size > 2 * 25 * 160
    assert held.files.transcript_text.exists()


async def test_the_stream_is_closed_where_the_agent_hangs_up(held: Held) -> None:
    await held.session.hang_up()
    assert held.providers.control.hang_ups == 1
    assert held.wire.socket.close_code == 1000
    assert held.calls.was_ended_by_us(CALL)


async def test_a_carrier_that_cannot_be_asked_to_hang_up_loses_the_stream_all_the_same(held: Held) -> None:
    class Unreachable:
        async def hang_up(self) -> None:
            raise CarrierError("no answer")

        async def transfer(self, target: str) -> None:
            raise CarrierError(target)

    session = held.session
    prepared = session._prepared
    assert prepared is not None
    plan = msgspec.structs.replace(prepared.plan, control=Unreachable())
    session._prepared = msgspec.structs.replace(prepared, plan=plan)
    await session.hang_up()
    assert held.wire.socket.close_code == 1000


async def test_a_transfer_leaves_the_stream_to_the_carrier(held: Held) -> None:
    await held.session.transfer("+15550001111")
    assert held.providers.control.transfers == ["+15550001111"]
    assert held.wire.socket.close_code == 0
    assert held.calls.was_ended_by_us(CALL)


async def test_what_a_caller_leaves_behind_is_whole_after_a_lost_socket(held: Held) -> None:
    held.wire.connection.lost()
    log = await held.log()
    assert log.is_complete
    assert held.files.latency.exists()
    assert held.providers.stt.streams[0].is_closed
    assert held.providers.tts.streams[-1].is_closed


async def test_a_conversation_that_breaks_ends_its_own_call_only(held: Held) -> None:
    """Closing recognition raises what no adapter may raise."""

    async def broken() -> None:
        raise RuntimeError("a bug")

    held.providers.stt.streams[0].close = broken  # type: ignore[method-assign]  # the fault that is tested
    held.wire.stop()
    log = await held.log()
    assert log.is_complete


async def test_a_provider_that_takes_no_call_frees_the_line(spool: Spool, tmp_path: Path) -> None:
    """Speech recognition of this machine takes a few calls at once and refuses the next one when it is opened."""

    class Full:
        def open(self, **_: object) -> object:
            raise ProviderBusy("fake", "all streams are taken")

    held = Held(spool, tmp_path)
    held.providers.stt = Full()  # type: ignore[assignment]  # opens nothing
    held.start()
    await eventually(lambda: held.wire.connection.is_closed)
    await eventually(lambda: len(held.calls) == 0)
    assert not held.calls.was_ended_by_us(CALL)


async def test_transcripts_are_taken_until_the_end(held: Held) -> None:
    recognition = held.providers.stt.streams[0]
    recognition.interim("hello")
    held.wire.stop()
    log = await held.log()
    recognition.final("hello there")
    assert _kinds(log)[-2:] == [ev.TranscriptUpdated, ev.CallEnded]


# --- while a call is prepared -------------------------------------------------------------------------------------
@pytest.fixture
async def unprepared(spool: Spool, tmp_path: Path) -> AsyncIterator[Held]:
    """A call whose agent is still being asked for."""
    held = Held(spool, tmp_path)
    held.providers.may_plan.clear()
    held.start()
    await eventually(lambda: held.providers.planned)
    yield held
    held.wire.connection.lost()
    await held.calls.close()


async def test_what_the_caller_does_meanwhile_is_not_lost(unprepared: Held) -> None:
    for _ in range(10):
        unprepared.wire.media(tone(20))
    unprepared.wire.press("4")
    unprepared.wire.press("2")
    assert unprepared.providers.stt.streams == []
    unprepared.providers.may_plan.set()
    await eventually(lambda: unprepared.providers.stt.streams)
    await eventually(lambda: bytes(unprepared.providers.stt.streams[0].audio) == tone(20) * 10)
    unprepared.wire.stop()
    log = await unprepared.log()
    assert [entry.event.digit for entry in log.entries if isinstance(entry.event, ev.DigitPressed)] == ["4", "2"]
    with wave.open(str(unprepared.files.recording)) as recording:
        assert recording.getnframes() >= 10 * 160


async def test_what_is_kept_meanwhile_is_bounded(unprepared: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_EARLY_BYTES", 320)
    for _ in range(10):
        unprepared.wire.media(tone(20))
        unprepared.wire.press("5")
    monkeypatch.setattr(session, "MOST_EARLY_DIGITS", 8)
    unprepared.wire.press("6")
    unprepared.providers.may_plan.set()
    await eventually(lambda: unprepared.providers.stt.streams)
    await eventually(lambda: len(unprepared.providers.stt.streams[0].audio) == 320)


async def test_a_caller_who_has_gone_meanwhile_leaves_the_line_free(unprepared: Held) -> None:
    unprepared.wire.stop()
    await eventually(lambda: len(unprepared.calls) == 0)
    assert not unprepared.files.folder.exists()


async def test_a_caller_who_has_gone_at_once_leaves_the_line_free(spool: Spool, tmp_path: Path) -> None:
    held = Held(spool, tmp_path)
    held.start()
    held.wire.stop()
    await eventually(lambda: len(held.calls) == 0)
    await held.calls.close()
    assert held.providers.planned == []


async def test_a_call_that_takes_too_long_to_prepare_is_given_back(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PREPARE_S", 0.01)
    held = Held(spool, tmp_path)
    held.providers.may_plan.clear()
    held.start()
    await eventually(lambda: len(held.calls) == 0)
    assert held.wire.socket.close_code == 1000
    assert not held.calls.was_ended_by_us(CALL)


async def test_a_goodbye_to_a_call_that_has_not_begun_is_left_to_another_process(unprepared: Held) -> None:
    await unprepared.session.transfer("+15550001111")
    unprepared.session.say_goodbye("shutdown")
    await eventually(lambda: len(unprepared.calls) == 0)
    assert unprepared.providers.control.transfers == []


# --- ends ---------------------------------------------------------------------------------------------------------
async def test_f26_a_line_on_which_nobody_has_been_for_long_is_hung_up_at_the_carrier(held: Held) -> None:
    held.wire.connection.lost(CloseReason.TRANSPORT_LOST)
    log = await held.log()
    assert log.entries[-1].event == ev.CallEnded(at=log.entries[-1].event.at, reason="transport_lost")
    assert held.providers.control.hang_ups == 1
    assert held.calls.was_ended_by_us(CALL)


async def test_f49_a_goodbye_is_said_before_the_server_ends_the_call(held: Held) -> None:
    await eventually(lambda: held.wire.socket.sent)
    held.session.say_goodbye("shutdown")
    await eventually(lambda: SETTINGS.lines.completed("en").closing in "".join(held.spoken()))
    held.wire.stop()
    log = await held.log()
    assert ev.EndRequested in _kinds(log)


async def test_a_verdict_reaches_the_conversation_also_one_that_comes_before_it(spool: Spool, tmp_path: Path) -> None:
    held = Held(spool, tmp_path)
    assert not held.calls.note_answered_by(CALL, "human")
    held.providers.may_plan.clear()
    held.start()
    assert held.calls.note_answered_by(CALL, "unknown")
    held.providers.may_plan.set()
    await eventually(lambda: held.session._conversation)
    assert held.calls.note_answered_by(CALL, "human")
    held.wire.stop()
    log = await held.log()
    verdicts = [entry.event.answered_by for entry in log.entries if isinstance(entry.event, ev.AnsweredBy)]
    assert verdicts == ["unknown", "human"]


async def test_an_opt_out_goes_where_the_process_keeps_them_and_nowhere_without_that(held: Held) -> None:
    kept: list[tuple[str, HeardOptOut]] = []

    async def keep(call_sid: str, heard: HeardOptOut) -> bool:
        kept.append((call_sid, heard))
        return True

    said = HeardOptOut(words="stop calling", how="phrase", second=3.0)
    current = held.session
    assert not await current.record_opt_out(said)
    current._surroundings = msgspec.structs.replace(current._surroundings, opt_out=keep)
    assert await current.record_opt_out(said)
    assert kept == [(CALL, said)]


@pytest.mark.parametrize(
    ("reason", "noted"), [("machine", "machine"), ("opted_out", "opted_out"), ("idle", "agent_hung_up")]
)
async def test_why_the_agent_hung_up_is_noted(held: Held, reason: str, noted: str) -> None:
    reasons: list[str] = []

    async def note(call_sid: str, why: session.EndReason) -> None:
        assert call_sid == CALL
        reasons.append(why)

    current = held.session
    current._surroundings = msgspec.structs.replace(current._surroundings, note_end=note)
    await current.hang_up(reason)
    assert reasons == [noted]
