"""What a caller's audio says about who is speaking: frames in, speech events out. The hot path of every call.

Decodes once, measures the level, asks the voice activity model and feeds `segmentation` and `barge_in`. It neither
transcribes nor ends turns. Any media length is taken and cut into frames of 20 ms, which Twilio sends today without
promising it.
"""

from math import log10

from voice_agent.audio import mulaw
from voice_agent.pipeline.barge_in import BargeInDetector
from voice_agent.pipeline.events import Event, SpeechStarted, VoiceConfirmed
from voice_agent.pipeline.ports import VoiceActivityDetector
from voice_agent.pipeline.segmentation import SILENCE_DB, NoiseFloor, Segmenter

FRAME_S = mulaw.FRAME_MS / 1_000
_FULL_SCALE_DB = 20.0 * log10(mulaw.FULL_SCALE)


class Listener:
    """The ears of one call."""

    __slots__ = ("_barge_in", "_floor", "_is_confirmed", "_process", "_rest", "_segmenter", "_voice")

    def __init__(self, activity: VoiceActivityDetector, voice: VoiceActivityDetector | None = None) -> None:
        """Open the call's streams: `activity` hears every frame, `voice` (Silero) only what may interrupt the agent."""
        self._process = activity.open().process
        self._voice = voice.open() if voice else None
        self._segmenter = Segmenter()
        self._barge_in = BargeInDetector()
        self._floor = NoiseFloor()
        self._rest = b""
        self._is_confirmed = False

    def hear(self, audio: bytes, now: float, agent_audible: bool) -> tuple[Event, ...]:
        """Take in mu-law `audio`, any length, whose last sample was heard at `now` seconds; return what it changes.

        `agent_audible`: the agent's voice is in the caller's ear, so that a voice over it would be an interruption.
        """
        if self._rest:
            audio = self._rest + audio
        length = len(audio)
        if length == mulaw.FRAME_BYTES:
            self._rest = b""
            return self._hear_frame(mulaw.decode(audio), now, agent_audible)
        events: tuple[Event, ...] = ()
        whole = length - length % mulaw.FRAME_BYTES
        self._rest = audio[whole:]
        for start in range(0, whole, mulaw.FRAME_BYTES):
            end = start + mulaw.FRAME_BYTES
            at = now - (length - end) / mulaw.RATE_HZ
            events += self._hear_frame(mulaw.decode(audio[start:end]), at, agent_audible)
        return events

    def _hear_frame(self, pcm16: bytes, at: float, agent_audible: bool) -> tuple[Event, ...]:  # noqa: ARG002
        rms = mulaw.rms(pcm16)
        level_db = 20.0 * log10(rms) - _FULL_SCALE_DB if rms else SILENCE_DB
        segmenter = self._segmenter
        floor_db = self._floor.follow(level_db, is_speaking=segmenter.is_speaking)
        event = segmenter.step(at, FRAME_S, self._process(pcm16), level_db, floor_db)
        if event is None and not segmenter.is_speaking:
            return ()
        if isinstance(event, SpeechStarted):
            self._is_confirmed = False
            self._barge_in.begin()
        if segmenter.is_speaking and not self._is_confirmed:
            self._is_confirmed = self._barge_in.step(FRAME_S, is_voiced=segmenter.is_voiced)
            if self._is_confirmed:
                confirmed = VoiceConfirmed(at=at, began_at=segmenter.began_at)
                return (confirmed,) if event is None else (event, confirmed)
        return () if event is None else (event,)
