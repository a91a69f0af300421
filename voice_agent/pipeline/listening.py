"""What a caller's audio says about who is speaking: frames in, speech events out. The hot path of every call.

Decodes once, measures the level, asks the voice activity models and feeds `segmentation` and `barge_in`. It neither
transcribes nor ends turns. Any media length is taken and cut into frames of 20 ms, which Twilio sends today without
promising it.

Two models share the work. The cheap one hears every frame and cuts the speech into stretches. The dear one (Silero,
50 times the price) hears a stretch from its onset to the verdict, and only while a verdict matters: while the agent is
audible, or where the sound goes on for longer than people speak without a pause.
"""

from collections import deque
from math import log10

from voice_agent.audio import mulaw
from voice_agent.audio.voice_features import periodicity
from voice_agent.pipeline.barge_in import BargeInDetector
from voice_agent.pipeline.events import AnyEvent, SpeechStarted, VoiceConfirmed
from voice_agent.pipeline.ports import VoiceActivityDetector, VoiceActivityStream
from voice_agent.pipeline.segmentation import SILENCE_DB, NoiseFloor, Segmenter

FRAME_S = mulaw.FRAME_MS / 1_000

INAUDIBLE_DB = -55.0
"""dBFS; no model is asked about a frame below it: no frame of speech is that quiet (`segmentation.quietest_db`)."""

PREROLL_FRAMES = 3
"""Frames before the onset that the voice model hears first: its first window after silence says nothing."""

_ONSET_FRAMES = 3
_FULL_SCALE_DB = 20.0 * log10(mulaw.FULL_SCALE)


class Listener:
    """The ears of one call."""

    __slots__ = (
        "_activity",
        "_barge_in",
        "_floor",
        "_is_judged",
        "_recent",
        "_rest",
        "_segmenter",
        "_voice",
        "_voice_detector",
    )

    def __init__(self, activity: VoiceActivityDetector, voice: VoiceActivityDetector | None = None) -> None:
        """Open the call's streams: `activity` hears every frame, `voice` only what may interrupt the agent."""
        self._activity = activity.open().process
        self._voice_detector = voice
        self._voice: VoiceActivityStream | None = None
        self._segmenter = Segmenter()
        self._barge_in = BargeInDetector()
        self._floor = NoiseFloor()
        self._recent: deque[bytes] = deque(maxlen=PREROLL_FRAMES + _ONSET_FRAMES)
        self._rest = b""
        self._is_judged = False

    def hear(self, audio: bytes, now: float, agent_audible: bool) -> tuple[AnyEvent, ...]:
        """Take in mu-law `audio`, any length, whose last sample was heard at `now` seconds; return what it changes.

        `agent_audible`: a reply is being prepared or heard, so that a voice now would be an interruption.
        """
        if self._rest:
            audio = self._rest + audio
        length = len(audio)
        if length == mulaw.FRAME_BYTES:
            self._rest = b""
            return self._hear_frame(mulaw.decode(audio), now, agent_audible)
        events: tuple[AnyEvent, ...] = ()
        whole = length - length % mulaw.FRAME_BYTES
        self._rest = audio[whole:]
        for start in range(0, whole, mulaw.FRAME_BYTES):
            end = start + mulaw.FRAME_BYTES
            at = now - (length - end) / mulaw.RATE_HZ
            events += self._hear_frame(mulaw.decode(audio[start:end]), at, agent_audible)
        return events

    def _hear_frame(self, pcm16: bytes, at: float, agent_audible: bool) -> tuple[AnyEvent, ...]:
        rms = mulaw.rms(pcm16)
        level_db = 20.0 * log10(rms) - _FULL_SCALE_DB if rms else SILENCE_DB
        segmenter = self._segmenter
        self._recent.append(pcm16)
        spoken_s = at - segmenter.began_at if segmenter.is_speaking else 0.0
        floor_db = self._floor.follow(level_db, spoken_s)
        probability = self._activity(pcm16) if level_db >= INAUDIBLE_DB else 0.0
        event = segmenter.step(at, FRAME_S, probability, level_db, floor_db)
        if not segmenter.is_speaking:
            if event is None:
                return ()
            self._voice = None
            return (event,)
        if isinstance(event, SpeechStarted):
            return (event, *self._begin(at, agent_audible))
        return () if self._is_judged else self._judge(pcm16, at, level_db, agent_audible)

    def _begin(self, at: float, agent_audible: bool) -> tuple[AnyEvent, ...]:
        """Weigh the frames of an onset, which were heard before it was one."""
        self._is_judged = False
        self._voice = None
        self._barge_in.begin()
        frames = tuple(self._recent)
        if agent_audible and self._voice_detector is not None:
            self._voice = self._voice_detector.open()
            for pcm16 in frames[:-_ONSET_FRAMES]:
                self._voice.process(pcm16)
        for index in range(-_ONSET_FRAMES, 0):
            rms = mulaw.rms(frames[index])
            level_db = 20.0 * log10(rms) - _FULL_SCALE_DB if rms else SILENCE_DB
            before = frames[index - 1] if len(frames) > -index else b""
            if self._weigh(before + frames[index], frames[index], level_db):
                return (self._confirm(at),)
        return ()

    def _judge(self, pcm16: bytes, at: float, level_db: float, agent_audible: bool) -> tuple[AnyEvent, ...]:
        if agent_audible and self._voice is None and self._voice_detector is not None:
            self._voice = self._voice_detector.open()
            for frame in tuple(self._recent)[:-1]:
                self._voice.process(frame)
        if self._weigh(self._recent[-2] + pcm16, pcm16, level_db):
            return (self._confirm(at),)
        if self._barge_in.is_background:
            self._floor.learn(self._barge_in.level_db)
            self._voice = None
            return (self._segmenter.stop(at),)
        return ()

    def _weigh(self, window: bytes, pcm16: bytes, level_db: float) -> bool:
        probability = self._voice.process(pcm16) if self._voice is not None else None
        return self._barge_in.hear(FRAME_S, level_db, periodicity(window) if probability is None else 0.0, probability)

    def _confirm(self, at: float) -> VoiceConfirmed:
        self._is_judged = True
        self._voice = None
        return VoiceConfirmed(at=at, began_at=self._segmenter.began_at)
