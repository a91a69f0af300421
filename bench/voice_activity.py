"""How well and how cheaply a caller's voice is told from silence, noise, coughs and music.

Recorded English and Spanish phrases and hold music (bench/voice_sounds.py), at -30 to -15 dBFS and at any phase of the
20 ms frames, go through `Listener` as mu-law while the agent is audible, once with WebRTC's detector alone and once
with Silero. The thresholds were set on the even-numbered phrases, pieces of music and other seeds; what is measured
here are the odd-numbered ones. Delays count from the first audible sample of the clean recording.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bench import voice_sounds as sounds
from bench.figures import Figure, figure, parser, write_figures
from bench.voice_sounds import RATE_HZ, Samples
from voice_agent.audio import mulaw
from voice_agent.integrations.local.silero_vad import SileroVoiceActivityDetector
from voice_agent.integrations.local.webrtc_vad import WebRtcVoiceActivityDetector
from voice_agent.pipeline.events import AnyEvent, SpeechStarted, SpeechStopped, VoiceConfirmed
from voice_agent.pipeline.listening import Listener
from voice_agent.pipeline.ports import VoiceActivityDetector

SEED = 2_026
LINE_NOISE_DB = -65.0
LEAD_S = 2.5
TAIL_S = 1.0
LONGEST_PHRASE_S = 4.0

BACKGROUNDS = ("silence", "pink noise", "white noise", "hold music")
"""Noise is 10 to 20 dB under the speech, music 10 dB."""

DISTURBANCES: dict[str, Callable[[np.random.Generator], Samples]] = {
    "cough": sounds.cough,
    "key clicks": sounds.key_clicks,
    "door slam": sounds.door_slam,
    "noise burst": sounds.noise_burst,
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase over a background, and where it can be heard."""

    mulaw: bytes
    began_s: float
    ended_s: float


@dataclass(slots=True)
class Findings:
    """What was found of the phrases over one background."""

    confirmed_ms: list[float] = field(default_factory=list)
    ended_ms: list[float] = field(default_factory=list)
    stretches: int = 0
    early: int = 0
    missed: int = 0


def main() -> None:
    """Measure and write the figures."""
    command_line = parser("Voice activity and barge-in evidence on recorded speech and music.")
    command_line.add_argument("--phrases", type=int, default=150, help="phrases for each background")
    command_line.add_argument("--disturbances", type=int, default=200, help="sounds of each kind")
    options = command_line.parse_args()
    silero = SileroVoiceActivityDetector()
    figures: list[Figure] = []
    for name, voice in (("silero", silero), ("webrtc", None)):
        for background in BACKGROUNDS:
            figures += phrase_figures(name, background, find_phrases(voice, background, options.phrases))
        figures += disturbance_figures(name, voice, options.disturbances)
        figures += music_figures(name, voice)
        figures += cost_figures(name, voice)
    write_figures(options.json, figures)


def hear(audio: bytes, voice: VoiceActivityDetector | None, *, agent_audible: bool = True) -> list[AnyEvent]:
    """Return what a fresh listener says about `audio`."""
    listener = Listener(WebRtcVoiceActivityDetector(), voice)
    events: list[AnyEvent] = []
    for start in range(0, len(audio) - mulaw.FRAME_BYTES + 1, mulaw.FRAME_BYTES):
        end = start + mulaw.FRAME_BYTES
        events += listener.hear(audio[start:end], end / RATE_HZ, agent_audible)
    return events


# --- speech -----------------------------------------------------------------------------------------------------
def phrases(background: str, count: int) -> Iterator[Phrase]:
    """Yield phrases over a background that began LEAD_S before."""
    random = np.random.default_rng(SEED)
    files = sounds.speech_files()[1::2]
    music = [piece for _, piece in sounds.music_excerpts(10.0)][1::2]
    for index in random.permutation(len(files)):
        clip = sounds.load(files[index])
        first, last = sounds.extent(clip)
        if last - first > LONGEST_PHRASE_S * RATE_HZ:
            continue
        speech_db = float(random.uniform(-30, -15))
        speech = sounds.at_level(clip[first:last], speech_db)
        lead = int(LEAD_S * RATE_HZ) + int(random.integers(0, mulaw.FRAME_BYTES))
        whole = np.concatenate([np.zeros(lead), speech, np.zeros(int(TAIL_S * RATE_HZ))])
        around, around_db = _background(background, random, len(whole), speech_db, music)
        first, last = sounds.extent(speech, around_db)
        yield Phrase(sounds.to_mulaw(whole + around), (lead + first) / RATE_HZ, (lead + last) / RATE_HZ)
        count -= 1
        if not count:
            return


def _background(
    name: str, random: np.random.Generator, length: int, speech_db: float, music: list[Samples]
) -> tuple[Samples, float]:
    length_s = length / RATE_HZ + 0.1
    if name == "hold music":
        level_db, sound = speech_db - 10.0, music[int(random.integers(len(music)))]
    elif name == "pink noise":
        level_db, sound = speech_db - float(random.uniform(10, 20)), sounds.pink_noise(random, length_s)
    elif name == "white noise":
        level_db, sound = speech_db - float(random.uniform(10, 20)), sounds.white_noise(random, length_s)
    else:
        level_db, sound = LINE_NOISE_DB, sounds.white_noise(random, length_s)
    return sounds.at_level(sound[:length], level_db), level_db


def find_phrases(voice: VoiceActivityDetector | None, background: str, count: int) -> Findings:
    """Return what the listener finds of the phrases."""
    findings = Findings()
    for phrase in phrases(background, count):
        events = hear(phrase.mulaw, voice)
        confirmed = [event.at for event in events if isinstance(event, VoiceConfirmed)]
        findings.early += sum(at < phrase.began_s for at in confirmed)
        delays_ms = [1_000 * (at - phrase.began_s) for at in confirmed if at >= phrase.began_s]
        if delays_ms and delays_ms[0] < 1_000:
            findings.confirmed_ms.append(delays_ms[0])
        else:
            findings.missed += 1
        ends = [event.ended_at for event in events if isinstance(event, SpeechStopped)]
        ends = [ended_at for ended_at in ends if phrase.began_s < ended_at < phrase.ended_s + 0.5 * TAIL_S]
        if ends:
            findings.ended_ms.append(1_000 * (ends[-1] - phrase.ended_s))
        findings.stretches += sum(
            isinstance(event, SpeechStarted) and event.began_at > phrase.began_s - 0.1 for event in events
        )
    return findings


def phrase_figures(name: str, background: str, findings: Findings) -> list[Figure]:
    """Return the figures of one background. Only over silence and noise is there a value to reach."""
    label = f"{name}, speech over {background}"
    count = len(findings.confirmed_ms) + findings.missed
    is_hard = background == "hold music"
    p50, p95 = _percentiles(findings.confirmed_ms, 50, 95)
    end_p5, end_p50, end_p95 = _percentiles(findings.ended_ms, 5, 50, 95)
    return [
        figure(f"{label}: onset to VoiceConfirmed p50", p50, "ms", reach=None if is_hard else 190.0),
        figure(f"{label}: onset to VoiceConfirmed p95", p95, "ms", reach=None if is_hard else 250.0),
        figure(f"{label}: not confirmed within 1 s", 100 * findings.missed / count, "%", reach=1.0),
        figure(f"{label}: background confirmed before", findings.early, f"of {count}", reach=0.0),
        figure(f"{label}: ended_at error p5", end_p5, "ms"),
        figure(f"{label}: ended_at error p50", end_p50, "ms"),
        figure(f"{label}: ended_at error p95", end_p95, "ms"),
        figure(f"{label}: stretches a phrase", findings.stretches / count, ""),
    ]


def _percentiles(values_ms: list[float], *percents: float) -> list[float]:
    return [float(np.percentile(values_ms, percent)) if values_ms else 1_000.0 for percent in percents]


# --- everything else --------------------------------------------------------------------------------------------
def disturbance_figures(name: str, voice: VoiceActivityDetector | None, count: int) -> list[Figure]:
    """Return how many disturbances pass for a voice, over silence and over noise in turns."""
    figures = []
    for kind, make in DISTURBANCES.items():
        random = np.random.default_rng(SEED)
        confirmed = 0
        for index in range(count):
            level_db = float(random.uniform(-30, -15))
            sound = sounds.at_level(make(random), level_db)
            whole = np.concatenate([np.zeros(2 * RATE_HZ + int(random.integers(0, 160))), sound, np.zeros(RATE_HZ)])
            background = "pink noise" if index % 2 else "silence"
            around, _ = _background(background, random, len(whole), level_db, [])
            events = hear(sounds.to_mulaw(whole + around), voice)
            confirmed += any(isinstance(event, VoiceConfirmed) for event in events)
        figures.append(figure(f"{name}: {kind} taken for a voice", confirmed, f"of {count}", reach=0.0))
    return figures


def music_figures(name: str, voice: VoiceActivityDetector | None) -> list[Figure]:
    """Return how often hold music passes for a voice, file by file."""
    random = np.random.default_rng(SEED)
    minutes: dict[str, float] = {}
    confirmed: dict[str, int] = {}
    for title, piece in sounds.music_excerpts()[1::2]:
        events = hear(sounds.to_mulaw(sounds.at_level(piece, float(random.uniform(-30, -15)))), voice)
        minutes[title] = minutes.get(title, 0.0) + len(piece) / RATE_HZ / 60
        confirmed[title] = confirmed.get(title, 0) + sum(isinstance(event, VoiceConfirmed) for event in events)
    return [
        figure(f"{name}: {title} taken for a voice", confirmed[title], f"in {minutes[title]:.1f} min", reach=0.0)
        for title in minutes
    ]


# --- cost -------------------------------------------------------------------------------------------------------
def cost_figures(name: str, voice: VoiceActivityDetector | None) -> list[Figure]:
    """Return the CPU a frame costs, and a second of a call whose caller talks 40 % of the time."""
    listener = Listener(WebRtcVoiceActivityDetector(), voice)
    silence, line_noise, speech = _minute_of(0.0, 0.0), _minute_of(0.0, 1.0), _minute_of(0.4, 1.0)
    floor_us = _floor_us(speech)
    silent_us = _frame_us(listener, silence, agent_audible=False)
    noise_us = _frame_us(listener, line_noise, agent_audible=False)
    call_us = _frame_us(listener, speech, agent_audible=False)
    audible_us = _frame_us(listener, speech, agent_audible=True)
    return [
        figure(f"{name}: CPU a silent frame", silent_us, "us", floor=_floor_us(silence), reach=8.0),
        figure(f"{name}: CPU a frame of line noise", noise_us, "us", floor=floor_us),
        figure(f"{name}: CPU, caller talks 40 %, agent silent", 0.05 * call_us, "ms/call-s", floor=0.05 * floor_us),
        figure(
            f"{name}: CPU, caller talks 40 %, agent audible throughout", 0.05 * audible_us, "ms/call-s",
            floor=0.05 * floor_us, reach=0.5,
        ),
    ]  # fmt: skip


def _minute_of(share: float, noise: float) -> bytes:
    """Return a minute of phrases that fill `share` of it, over line noise (or digital silence)."""
    random = np.random.default_rng(SEED)
    whole = noise * sounds.at_level(sounds.white_noise(random, 60.0), LINE_NOISE_DB)
    position = RATE_HZ
    for path in sounds.speech_files()[1::7]:
        clip = sounds.load(path)
        if share == 0.0 or position + len(clip) > len(whole):
            break
        whole[position : position + len(clip)] += sounds.at_level(clip, -22.0)
        position += int(len(clip) / share)
    return sounds.to_mulaw(whole)


def _frame_us(listener: Listener, audio: bytes, *, agent_audible: bool) -> float:
    frames = [audio[start : start + mulaw.FRAME_BYTES] for start in range(0, len(audio), mulaw.FRAME_BYTES)]
    best_us = float("inf")
    for _ in range(3):
        before = time.process_time()
        for index, frame in enumerate(frames):
            listener.hear(frame, index * mulaw.FRAME_MS / 1_000, agent_audible)
        best_us = min(best_us, 1e6 * (time.process_time() - before) / len(frames))
    return best_us


def _floor_us(audio: bytes) -> float:
    """Return the cost of what no listener can do without: decode, level, WebRTC's verdict."""
    process = WebRtcVoiceActivityDetector().open().process
    frames = [audio[start : start + mulaw.FRAME_BYTES] for start in range(0, len(audio), mulaw.FRAME_BYTES)]
    best_us = float("inf")
    for _ in range(3):
        before = time.process_time()
        for frame in frames:
            pcm16 = mulaw.decode(frame)
            mulaw.rms(pcm16)
            process(pcm16)
        best_us = min(best_us, 1e6 * (time.process_time() - before) / len(frames))
    return best_us


if __name__ == "__main__":
    main()
