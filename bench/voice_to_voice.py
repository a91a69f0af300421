"""Voice-to-voice latency: the caller's last speech sample to the agent's first audible one, as a caller hears it.

Recorded human sentences over the sandbox carrier; doubles for ElevenLabs (both directions) and OpenAI at the conditions
of the goal: interim transcripts 150 ms behind the audio, final 100 ms after commit, first token after 150 ms and 15 ms
a token, first audio after 80 ms. A bare sequential server (bench/bare_server.py: VAD stop of 200 ms, final transcript,
first clause, its audio, one after the other) is measured in the same run as the floor.

Our own overhead is what remains of a turn when the doubles' delays on its critical path are taken away: the interim
lag, the first token, the tokens up to the end of the first clause, the first audio; and the carrier's framing, which
holds a last sample back until its 20 ms are full.
"""

import argparse
import statistics
from collections.abc import Iterable

import uvloop

from bench.figures import Figure, figure, parser, write_figures
from bench.phrases import framing_ms, known_phrases, sentences
from bench.rig import BARE_SERVER, Rig
from voice_agent.pipeline.latency import percentile
from voice_agent.pipeline.sentences import ClauseChunker
from voice_agent.sandbox.callers.judge import judge
from voice_agent.sandbox.callers.scenario import Expectations
from voice_agent.sandbox.providers import Timings
from voice_agent.sandbox.providers.dialogue import split_tokens

TIMINGS = Timings()


def critical_path_ms(reply: str) -> float:
    """Return what the doubles alone take for the first sound of `reply`, from the caller's last sample."""
    chunker = ClauseChunker("en")
    tokens = split_tokens(reply)
    needed = next((number for number, token in enumerate(tokens) if chunker.feed(token)), len(tokens) - 1)
    delays_s = TIMINGS.interim_lag_s, TIMINGS.first_token_s, needed * TIMINGS.token_s, TIMINGS.first_audio_s
    return sum(delays_s) * 1_000


class Measured:
    """The turns of one run."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.overheads_ms: list[float] = []
        self.stuck = 0
        self.speculations = 0
        self.discarded = 0


async def measure(*, calls: int, turns: int, is_bare: bool) -> Measured:
    """Hold `calls` calls of `turns` turns at once, against the product or the bare server."""
    renderings = await sentences(turns, callers=min(calls, 10))
    found = Measured()
    async with Rig(timings=TIMINGS, server=BARE_SERVER) if is_bare else Rig(timings=TIMINGS) as rig:
        await rig.teach(known_phrases(renderings))
        held = await rig.call(renderings, calls=calls, over_s=3.0)
        for number, (call_sid, timeline) in enumerate(held):
            verdict = judge(timeline, Expectations())
            found.stuck += verdict.stuck
            found.latencies_ms += verdict.latencies_ms
            if not is_bare:
                framings = [framing_ms(clip) for clip in renderings[number % len(renderings)].clips.values()]
                await _add_own_view(found, rig, call_sid, zip(verdict.latencies_ms, framings, strict=False))
    return found


async def _add_own_view(found: Measured, rig: Rig, call_sid: str, turns: Iterable[tuple[float, float]]) -> None:
    """Add what only the server's own files tell; `turns` are latency and framing of each, in milliseconds."""
    report = await rig.latency(call_sid)
    found.speculations += report.speculations
    found.discarded += report.summary.discarded
    replies = await rig.replies(call_sid)
    for (latency_ms, framed_ms), reply in zip(turns, replies, strict=False):
        found.overheads_ms.append(latency_ms - framed_ms - critical_path_ms(reply))


async def run(options: argparse.Namespace) -> list[Figure]:
    """Measure one call alone, the floor, and many calls."""
    alone = await measure(calls=1, turns=options.turns, is_bare=False)
    bare = await measure(calls=1, turns=options.turns, is_bare=True)
    many = await measure(calls=options.calls, turns=options.turns // 2, is_bare=False)
    discarded = 100.0 * (alone.discarded + many.discarded) / max(1, alone.speculations + many.speculations)
    floor = statistics.median(bare.latencies_ms)
    floor_p95 = percentile(bare.latencies_ms, 95)
    at = f"at {options.calls} calls"
    return [
        figure("voice-to-voice p50", percentile(alone.latencies_ms, 50), "ms", floor=floor, reach=440),
        figure("voice-to-voice p95", percentile(alone.latencies_ms, 95), "ms", floor=floor_p95, reach=520),
        figure(f"voice-to-voice p50 {at}", percentile(many.latencies_ms, 50), "ms", floor=floor, reach=440),
        figure(f"voice-to-voice p95 {at}", percentile(many.latencies_ms, 95), "ms", floor=floor_p95, reach=520),
        figure("own overhead p50", percentile(alone.overheads_ms, 50), "ms", reach=10),
        figure(f"own overhead p50 {at}", percentile(many.overheads_ms, 50), "ms", reach=10),
        figure(f"own overhead p95 {at}", percentile(many.overheads_ms, 95), "ms", reach=30),
        figure("speculations discarded", discarded, "%"),
        figure("turns without an answer", alone.stuck + many.stuck, "turns", reach=0),
    ]


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--turns", type=int, default=20, help="turns of the call that is measured alone")
    command_line.add_argument("--calls", type=int, default=20, help="calls at once in the second part")
    options = command_line.parse_args()
    write_figures(options.json, uvloop.run(run(options)))


if __name__ == "__main__":
    main()
