"""A session: what the stream tells reaches the conversation and the record, and the call ends as one thing."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.calls.live_world import Providers, Wire, make_service
from tests.contracts.eventually import eventually
from tests.fakes.text_to_speech import tone
from voice_agent.calls.event_log import EventLog, read_event_log
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.session import CallSession
from voice_agent.calls.spool import Spool
from voice_agent.errors import CarrierError, ProviderBusy
from voice_agent.media_stream.connection import PlayoutClock
from voice_agent.pipeline import events as ev

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
    session._plan = msgspec.structs.replace(session._plan, control=Unreachable())
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
    assert held.wire.connection.is_closed
    assert len(held.calls) == 0
    assert not held.calls.was_ended_by_us(CALL)


async def test_transcripts_are_taken_until_the_end(held: Held) -> None:
    recognition = held.providers.stt.streams[0]
    recognition.interim("hello")
    held.wire.stop()
    log = await held.log()
    recognition.final("hello there")
    assert _kinds(log)[-2:] == [ev.TranscriptUpdated, ev.CallEnded]
