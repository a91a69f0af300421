"""Underruns: gaps inside a reply because the server did not deliver in time, as the carrier's buffer sees them.

Replies of several sentences to callers who talk all the time; the carrier plays in real time and notes whenever it
has nothing to play inside the agent's speech (`sandbox.callers.judge`). Twice: with the server as it is, and with an
event loop that stands still for 100 ms once a second (bench/stalled_server.py). Gaps of bench/bare_server.py, which
sends everything at once and so could have none of its own, are the floor: the doubles' and the callers' own.
"""

import argparse
import statistics
from collections.abc import Sequence

import uvloop

from bench.figures import Figure, figure, parser, write_figures
from bench.phrases import known_phrases, sentences
from bench.rig import BARE_SERVER, PRODUCT, REPLIES, Rig
from voice_agent.audio.mulaw import RATE_HZ
from voice_agent.sandbox.callers.judge import judge
from voice_agent.sandbox.callers.scenario import Expectations

STALLED_SERVER = ("-m", "bench.stalled_server")

LONG_REPLIES = tuple(f"{first} {second}" for first, second in zip(REPLIES, REPLIES[1:], strict=False))
"""Four to six sentences, 8 to 12 s each."""


class Heard:
    """What callers heard of one server."""

    def __init__(self) -> None:
        self.gaps_ms: list[float] = []
        self.latencies_ms: list[float] = []
        self.spoken_s = 0.0
        """Audio of the agent in all calls."""


async def measure(server: Sequence[str], *, calls: int, turns: int) -> Heard:
    """Hold `calls` calls of `turns` turns at once. Raises RuntimeError where the agent was not heard."""
    renderings = await sentences(turns, callers=min(calls, 10))
    heard = Heard()
    async with Rig(replies=LONG_REPLIES, server=server) as rig:
        await rig.teach(known_phrases(renderings))
        for _, timeline in await rig.call(renderings, calls=calls, over_s=2.0):
            verdict = judge(timeline, Expectations())
            heard.gaps_ms += verdict.underruns_ms
            heard.latencies_ms += verdict.latencies_ms
            heard.spoken_s += sum(span.end - span.start for span in timeline.spans) / RATE_HZ
    if len(heard.latencies_ms) < calls:
        raise RuntimeError(f"only {len(heard.latencies_ms)} turns of {calls} calls were answered")
    return heard


async def run(options: argparse.Namespace) -> list[Figure]:
    """Measure the floor, the server as it is, and the server that stalls."""
    bare, calm, stalled = [
        await measure(server, calls=options.calls, turns=options.turns)
        for server in (BARE_SERVER, PRODUCT, STALLED_SERVER)
    ]
    floor = len(bare.gaps_ms)
    return [
        figure("underruns", len(calm.gaps_ms), "gaps", floor=floor, reach=0),
        figure("underruns, all together", sum(calm.gaps_ms), "ms", floor=sum(bare.gaps_ms), reach=0),
        figure("underruns, loop stalled 100 ms a second", len(stalled.gaps_ms), "gaps", floor=floor, reach=0),
        figure("the same, all together", sum(stalled.gaps_ms), "ms", floor=sum(bare.gaps_ms), reach=0),
        figure("speech of the agent, each time", min(calm.spoken_s, stalled.spoken_s), "s"),
        figure("voice-to-voice p50", statistics.median(calm.latencies_ms), "ms"),
        figure("voice-to-voice p50, loop stalled", statistics.median(stalled.latencies_ms), "ms"),
    ]


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--calls", type=int, default=10, help="calls at once")
    command_line.add_argument("--turns", type=int, default=2, help="turns of each call")
    options = command_line.parse_args()
    write_figures(options.json, uvloop.run(run(options)))


if __name__ == "__main__":
    main()
