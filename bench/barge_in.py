"""Barge-in: how fast a caller's voice stops the agent, and what does not stop it. The whole server, by sound.

Interruptions are recorded human sentences, English and Spanish, spoken into the agent's speech. Measured is the first
sample of the sentence to the `clear` on the wire, in the carrier's journal. The floor is the detector alone, fed with
the same clips in this process: the carrier's framing of 20 ms and the evidence that these voices give. The least that
it could take is 60 ms, the three frames of an onset, the first of which is the framing.

The decision itself leaves no trace on the wire. It is taken while a frame is handled, so it lies between that frame
and the `clear`; the time from the last frame sent to the `clear` received bounds decision to `clear` from above.

False stops: coughs, noise and key clicks into the agent's speech, and hold music behind the whole call, 10 to 20 dB
under the caller's voice. A stop is false where the agent is not heard again within 700 ms.

Backchannels: "mhm", hummed, and others by synthesis, taught to the recognition double. Where the agent was stopped,
the audio before and after is looked up in what the synthesis double made of the reply: it must go on with the first
sample of a word that does not lie behind the cut, nor more than two seconds before it.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

import msgspec
import uvloop

from bench.disturbances import MUSIC, backchannels, music, noises
from bench.figures import Figure, figure, parser, write_figures
from bench.phrases import INTERRUPTIONS, interruption, known_phrases
from bench.resumption import Resumption, resumption, spoken_in
from bench.rig import REPLIES, Rig
from voice_agent.audio.mulaw import BYTES_PER_MS, FRAME_BYTES, silence
from voice_agent.integrations.local.silero_vad import SileroVoiceActivityDetector
from voice_agent.integrations.local.webrtc_vad import WebRtcVoiceActivityDetector
from voice_agent.pipeline.events import VoiceConfirmed
from voice_agent.pipeline.latency import percentile
from voice_agent.pipeline.listening import Listener
from voice_agent.pipeline.segmentation import SegmentationSettings
from voice_agent.sandbox.callers.caller import Caller
from voice_agent.sandbox.callers.clips import Clip, Rendering
from voice_agent.sandbox.callers.judge import RESUME_MS, Stop, judge, speech_of
from voice_agent.sandbox.callers.run import CALLED, CALLING
from voice_agent.sandbox.callers.scenario import (
    Expectations,
    HangUp,
    Interrupt,
    Language,
    Scenario,
    WaitForAgent,
)
from voice_agent.sandbox.callers.timeline import Timeline, timeline_of
from voice_agent.sandbox.carrier.journal import AnyEntry, Cleared

MONOLOGUE = " ".join(REPLIES)
"""Half a minute without a break, so that there is something to disturb."""

LEAST_EVIDENCE_MS = SegmentationSettings().onset_s * 1_000
CALLS = 8
"""Calls of each kind at once."""

SOUNDS = 10
"""Noises in each call that has them."""

MUSIC_SNRS_DB = (10.0, 15.0, 20.0)


# --- interruptions ------------------------------------------------------------------------------------------------
class TimedCaller(Caller):
    """A caller who knows when the last frame went out."""

    spoke_at = 0.0

    def on_tick(self, heard: bytes) -> bytes:
        """Note the time. The line sends what this returns at once."""
        said = super().on_tick(heard)
        self.spoke_at = time.monotonic()
        return said


class Reactions:
    """Holds calls and takes the time from the last frame sent to each `clear`."""

    def __init__(self, rig: Rig) -> None:
        self.reactions_ms: list[float] = []
        self._rig = rig
        self._callers: dict[str, TimedCaller] = {}
        rig.carrier.journal.listen(self._note)

    def _note(self, entry: AnyEntry) -> None:
        if isinstance(entry, Cleared) and entry.dropped_bytes:
            self.reactions_ms.append((time.monotonic() - self._callers[entry.call_sid].spoke_at) * 1_000)

    async def hold(self, rendering: Rendering) -> Timeline:
        """Hold one call."""
        caller, carrier = TimedCaller(rendering), self._rig.carrier
        call = carrier.place_inbound_call(caller, to=CALLED, from_=CALLING, voice_url=self._rig.voice_url)
        self._callers[call.record.sid] = caller
        await call.ended.wait()
        return timeline_of(call, caller, carrier.journal)


def interrupting(number: int, count: int) -> Rendering:
    """Return caller `number`, who lets the agent say about a second before the next interruption."""
    texts = list(INTERRUPTIONS)
    said = [texts[(number * count + each) % len(texts)] for each in range(count)]
    steps = [Interrupt(say=text, after_ms=700 + 130 * ((number + each) % 5)) for each, text in enumerate(said)]
    scenario = Scenario(name="interruptions", steps=(*steps, WaitForAgent(), HangUp()))
    return Rendering(scenario, {index: interruption(text) for index, text in enumerate(said)})


def alone_ms(clips: Iterable[Clip]) -> list[float]:
    """Return how long the detector alone takes for each clip, from its first audible sample."""
    activity = WebRtcVoiceActivityDetector()
    voice = SileroVoiceActivityDetector() if find_spec("onnxruntime") else None
    return [took for clip in clips if (took := _alone_ms(Listener(activity, voice), clip)) is not None]


def _alone_ms(listener: Listener, clip: Clip) -> float | None:
    before_ms = 1_000
    audio = silence(before_ms * BYTES_PER_MS) + clip.mulaw
    for end in range(FRAME_BYTES, len(audio) + 1, FRAME_BYTES):
        at_ms = end / BYTES_PER_MS
        events = listener.hear(audio[end - FRAME_BYTES : end], at_ms / 1_000, agent_audible=True)
        if any(isinstance(event, VoiceConfirmed) for event in events):
            return at_ms - before_ms - clip.start / BYTES_PER_MS
    return None


async def interruption_figures(count: int) -> list[Figure]:
    """Measure `count` interruptions in each of some calls."""
    renderings = [interrupting(number, count) for number in range(CALLS)]
    async with Rig(replies=(MONOLOGUE,)) as rig:
        await rig.teach(known_phrases(renderings))
        reactions = Reactions(rig)
        timelines = await asyncio.gather(*(reactions.hold(rendering) for rendering in renderings))
    tried = [each for timeline in timelines for each in judge(timeline, Expectations()).barge_ins]
    took_ms = [each.clear_ms for each in tried if each.clear_ms is not None]
    floor_ms = alone_ms(clip for rendering in renderings for clip in rendering.clips.values())
    if len(took_ms) < CALLS * count / 2:
        raise RuntimeError(f"only {len(took_ms)} interruptions of {CALLS * count} stopped the agent")
    p50, p95 = percentile(floor_ms, 50), percentile(floor_ms, 95)
    return [
        figure("barge-in p50", percentile(took_ms, 50), "ms", floor=p50, reach=200),
        figure("barge-in p95", percentile(took_ms, 95), "ms", floor=p95, reach=260),
        figure("detector alone p50", p50, "ms", floor=LEAST_EVIDENCE_MS),
        figure("interruptions", len(tried), "sentences"),
        figure("interruptions that did not stop the agent", len(tried) - len(took_ms), "sentences", reach=0),
        figure("last frame to clear p50: decision and two ways", percentile(reactions.reactions_ms, 50), "ms", reach=5),
        figure("last frame to clear p95", percentile(reactions.reactions_ms, 95), "ms", reach=5),
    ]


# --- what is no interruption --------------------------------------------------------------------------------------
class Disturbed(msgspec.Struct):
    """What a kind of disturbance did to the agent."""

    tried: int = 0
    """Sounds that began while the agent spoke; of music, seconds of speech over it."""

    stops: list[Stop] = []
    resumptions: list[Resumption] = []

    def add(self, timeline: Timeline) -> list[Stop]:
        """Add a call; return its stops."""
        speech = speech_of(timeline.heard)
        sounds = [said for said in timeline.utterances if said.kind in ("noise", "backchannel")]
        self.tried += sum(any(start <= said.start < end for start, end in speech) for said in sounds)
        stops = judge(timeline, Expectations()).stops
        self.stops += stops
        return list(stops)

    @property
    def false_stops(self) -> int:
        """Stops that the caller noticed."""
        return sum(stop.is_false for stop in self.stops)


async def _hold(rig: Rig, renderings: Sequence[Rendering], *, has_words: bool = False) -> Disturbed:
    """Hold one call for each rendering, all at once."""
    disturbed = Disturbed()
    for call_sid, timeline in await rig.call(renderings, calls=len(renderings), over_s=2.0):
        stops = disturbed.add(timeline)
        if stops and has_words:
            replies = spoken_in(await rig.event_log(call_sid))
            for stop in stops:
                cut = round(stop.at_s * 1_000 * BYTES_PER_MS)
                resumed = cut + round((stop.resumed_ms or 0.0) * BYTES_PER_MS)
                disturbed.resumptions.append(resumption(timeline.heard, cut, resumed, replies))
    return disturbed


async def disturbance_figures() -> list[Figure]:
    """Measure noises, music and English backchannels, over a greeting of half a minute."""
    loud = [await noises(number, sounds=SOUNDS) for number in range(CALLS)]
    melodies = [await music(name, snr_db) for name in MUSIC for snr_db in MUSIC_SNRS_DB]
    listening = [await backchannels(number, "en", is_asking=False) for number in range(CALLS)]
    async with Rig(greeting=MONOLOGUE, replies=(MONOLOGUE,)) as rig:
        await rig.teach(known_phrases(listening))
        noisy, musical, signalled = await asyncio.gather(
            _hold(rig, loud), _hold(rig, melodies), _hold(rig, listening, has_words=True)
        )
    coughs = [stop for stop in noisy.stops if stop.cause.startswith("cough")]
    return [
        figure("coughs, noises, clicks", noisy.tried, "sounds"),
        figure("stops by them", len(noisy.stops), "stops"),
        figure("of these by coughs", len(coughs), "stops"),
        figure(f"false stops by them: over {RESUME_MS} ms", noisy.false_stops, "stops", reach=0),
        figure("stops by hold music 10, 15, 20 dB down", len(musical.stops), "stops"),
        figure(f"false stops by it: over {RESUME_MS} ms", musical.false_stops, "stops", reach=0),
        *_backchannel_figures("en", signalled),
    ]


async def spanish_figures() -> list[Figure]:
    """Measure Spanish backchannels, over an answer of half a minute."""
    listening = [await backchannels(number, "es", is_asking=True) for number in range(CALLS)]
    async with Rig(replies=(MONOLOGUE,), language="es") as rig:
        await rig.teach(known_phrases(listening))
        return _backchannel_figures("es", await _hold(rig, listening, has_words=True))


def _backchannel_figures(language: Language, disturbed: Disturbed) -> list[Figure]:
    resumed_ms = [stop.resumed_ms for stop in disturbed.stops if stop.resumed_ms is not None]
    found = [each for each in disturbed.resumptions if each.is_found]
    skipped = sum(each.repeated_ms < 0 for each in found)
    return [
        figure(f"backchannels, {language}", disturbed.tried, "sounds"),
        figure(f"stops by them, {language}", len(disturbed.stops), "stops"),
        figure(f"not resumed in {RESUME_MS} ms, {language}", disturbed.false_stops, "stops", reach=0),
        figure(f"resumed after, p95, {language}", percentile(resumed_ms, 95), "ms", reach=RESUME_MS),
        figure(f"went on with something else, {language}", len(disturbed.resumptions) - len(found), "stops", reach=0),
        figure(f"went on behind the cut, {language}", skipped, "stops", reach=0),
        figure(f"went on inside a word, {language}", sum(not each.is_word_start for each in found), "stops", reach=0),
        figure(f"said again, p95, {language}", percentile([each.repeated_ms for each in found], 95), "ms"),
    ]


async def run(options: argparse.Namespace) -> list[Figure]:
    """Measure all three."""
    return [
        *await interruption_figures(options.interruptions),
        *await disturbance_figures(),
        *await spanish_figures(),
        figure("load average of the machine", os.getloadavg()[0], "processes"),
    ]


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--interruptions", type=int, default=12, help="interruptions in each of eight calls")
    options = command_line.parse_args()
    write_figures(options.json, uvloop.run(run(options)))


if __name__ == "__main__":
    main()
