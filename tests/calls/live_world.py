"""A call service over fakes, and sockets in memory to stream into it."""

import asyncio
import secrets
from pathlib import Path

from tests.calls.call_world import SETTINGS
from tests.fakes.call_control import FakeCallControl
from tests.fakes.language_model import FakeLanguageModel
from tests.fakes.speech_to_text import FakeSpeechToText
from tests.fakes.text_to_speech import FakeTextToSpeech
from tests.fakes.voice_activity import FakeVoiceActivityDetector
from tests.media_stream import twilio_messages as twilio
from voice_agent.calls.ledger import CallLedger
from voice_agent.calls.live import RESUME_PARAMETER, TICKET_PARAMETER, LiveCalls
from voice_agent.calls.session import CallPlan
from voice_agent.calls.spool import Spool
from voice_agent.media_stream.connection import MediaStreamConnection, PlayoutClock, Upgrade
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.media_stream.tickets import TicketOffice
from voice_agent.pipeline.conversation import Mind, Speech
from voice_agent.pipeline.lines import LineBook
from voice_agent.pipeline.listening import Listener
from voice_agent.pipeline.ports import Voice
from voice_agent.pipeline.tools import ToolRegistry
from voice_agent.storage.cache import InProcessCache


class Providers:
    """What the calls of a test share, and a look at what they did."""

    def __init__(self) -> None:
        self.stt = FakeSpeechToText()
        self.tts = FakeTextToSpeech()
        self.llm = FakeLanguageModel()
        self.control = FakeCallControl()
        self.planned: list[str] = []
        self.may_plan = asyncio.Event()
        self.may_plan.set()

    async def plan(self, started: StreamStarted) -> CallPlan:
        self.planned.append(started.call_sid)
        await self.may_plan.wait()
        return CallPlan(
            agent="test agent",
            settings=SETTINGS,
            speech=self._speech,
            mind=Mind(llm=self.llm, instructions="", tools=ToolRegistry(())),
            control=self.control,
        )

    def _speech(self) -> Speech:
        book = LineBook(self.tts, Voice("v"), InProcessCache(clock=lambda: 0.0), provider="fake")
        listener = Listener(FakeVoiceActivityDetector())
        return Speech(listener=listener, stt=self.stt, tts=self.tts, voice=Voice("v"), lines=book)


def make_service(
    spool: Spool,
    data_dir: Path,
    *,
    max_calls: int = 2,
    providers: Providers | None = None,
    ledger: CallLedger | None = None,
) -> LiveCalls:
    """Return a service that signs its tickets by a secret of its own."""
    return LiveCalls(
        tickets=TicketOffice(b"s" * 32, secrets.token_bytes),
        plan=(providers or Providers()).plan,
        spool=spool,
        data_dir=data_dir,
        max_calls=max_calls,
        ledger=ledger,
    )


class MemorySocket:
    """A MediaSocket that keeps what is written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.close_code = 0
        self.is_aborted = False

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def unsent_bytes(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - the socket's shape
        self.close_code = self.close_code or code

    def abort(self) -> None:
        self.is_aborted = True


class Wire:
    """Twilio's end of a stream to the service, without a socket."""

    def __init__(self, calls: LiveCalls, clock: PlayoutClock, *, headers: dict[str, str] | None = None) -> None:
        self.socket = MemorySocket()
        self.connection = MediaStreamConnection(
            self.socket, Upgrade("/twilio/media", headers or {}), admit=calls.admit, clock=clock, settings=None
        )
        self._number = 0

    def start(self, call_sid: str, ticket: str, *, is_resumed: bool = False) -> None:
        self._number += 1
        parameters = {TICKET_PARAMETER: ticket} if ticket else {}
        if is_resumed:
            parameters[RESUME_PARAMETER] = "1"
        self.connection.receive(twilio.start(self._number, parameters=parameters, call=call_sid))

    def media(self, mulaw: bytes) -> None:
        self._number += 1
        self.connection.receive(twilio.media(self._number, mulaw))

    def press(self, digit: str) -> None:
        self._number += 1
        self.connection.receive(twilio.dtmf(self._number, digit))

    def stop(self) -> None:
        self._number += 1
        self.connection.receive(twilio.stop(self._number))
