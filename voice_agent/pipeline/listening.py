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
from voice_agent.pipeline.events import AnyEvent, VoiceConfirmed
from voice_agent.pipeline.ports import VoiceActivityDetector, VoiceActivityStream
from voice_agent.pipeline.segmentation import SILENCE_DB, NoiseFloor, Segmenter

FRAME_S = mulaw.FRAME_MS / 1_000

INAUDIBLE_DB = -55.0
"""dBFS; no model is asked about a frame below it: no frame of speech is that quiet (`segmentation.quietest_db`)."""

PREROLL_FRAMES = 4
"""Frames before the onset that the voice model hears first: its first window after silence says nothing."""

DOUBT_S = 2.0
"""Seconds without a pause after which the voice model is asked whether a voice is still, or was ever, among it."""

SUSPICION_S = 10.0
"""Seconds for which a sound that follows on background needs more evidence to be a voice."""

ONSET_FRAMES = 3
"""Frames that `segmentation` takes to call a sound an onset; they are weighed once it is one."""

_FULL_SCALE_DB = 20.0 * log10(mulaw.FULL_SCALE)


class Listener:
    """The ears of one call."""

    __slots__ = (
        "_activity",
        "_barge_in",
        "_doubt_at",
        "_floor",
        "_is_confirmed",
        "_is_judging",
        "_recent",
        "_rest",
        "_segmenter",
        "_suspicious_until",
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
        frames = PREROLL_FRAMES + ONSET_FRAMES
        self._recent = deque([(bytes(2 * mulaw.FRAME_BYTES), SILENCE_DB)] * frames, maxlen=frames)
        self._rest = b""
        self._is_judging = False
        self._is_confirmed = False
        self._doubt_at = 0.0
        self._suspicious_until = 0.0

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
        self._recent.append((pcm16, level_db))
        segmenter = self._segmenter
        spoken_s = at - segmenter.began_at if segmenter.is_speaking else 0.0
        probability = self._activity(pcm16) if level_db >= INAUDIBLE_DB else 0.0
        floor_db = self._floor.follow(level_db, probability, spoken_s)
        event = segmenter.step(at, FRAME_S, probability, level_db, floor_db)
        if not segmenter.is_speaking:
            return () if event is None else (event,)
        if event is not None:
            self._is_confirmed = False
            self._begin_judging(at, self._voice_detector if agent_audible else None, ONSET_FRAMES)
            return (event, *self._weigh(at, ONSET_FRAMES))
        if self._is_judging:
            if agent_audible and self._voice is None and self._voice_detector is not None:
                self._begin_judging(at, self._voice_detector, 1)
            return self._weigh(at, 1)
        if at >= self._doubt_at and self._voice_detector is not None:
            self._begin_judging(at, self._voice_detector, 0)
        return ()

    def _begin_judging(self, at: float, detector: VoiceActivityDetector | None, newest: int) -> None:
        """Begin to collect evidence. The voice model hears what came before the `newest` frames, to settle."""
        self._is_judging = True
        self._barge_in.begin(is_suspicious=at < self._suspicious_until)
        self._voice = None if detector is None else detector.open()
        if self._voice is not None:
            for pcm16, _ in list(self._recent)[: len(self._recent) - newest]:
                self._voice.process(pcm16)

    def _weigh(self, at: float, frames: int) -> tuple[AnyEvent, ...]:
        """Weigh the newest `frames`; return the verdict as events."""
        recent = list(self._recent)
        for index in range(len(recent) - frames, len(recent)):
            pcm16, level_db = recent[index]
            probability = None if self._voice is None else self._voice.process(pcm16)
            periodic = periodicity(recent[index - 1][0] + pcm16)
            if self._barge_in.hear(FRAME_S, level_db, periodic, probability):
                return self._confirm(at)
        return self._reject(at) if self._barge_in.is_background else ()

    def _confirm(self, at: float) -> tuple[AnyEvent, ...]:
        self._is_judging = False
        self._voice = None
        self._doubt_at = at + DOUBT_S
        if self._is_confirmed:
            return ()
        self._is_confirmed = True
        return (VoiceConfirmed(at=at, began_at=self._segmenter.began_at),)

    def _reject(self, at: float) -> tuple[AnyEvent, ...]:
        if self._voice is None and self._voice_detector is not None:
            self._begin_judging(at, self._voice_detector, 0)
            return ()
        self._floor.learn(self._barge_in.level_db)
        self._suspicious_until = at + SUSPICION_S
        self._is_judging = False
        self._voice = None
        return (self._segmenter.stop(at),)
