"""What a call costs on one core: CPU milliseconds of the server for each second of each call, and whether it holds up.

All calls talk as people do: recorded sentences, answers of two to three seconds, so that the caller speaks for about
40 % of the time. The server has one core to itself. They begin over some seconds, settle, and are measured for a
while in which every one of them is live; latency, stuck turns and underruns are those of that while. The floor is
bench/bare_server.py under the same load in the same run: no framework, but no barge-in, record or speculation either.

Carrier, callers and doubles share the other core. What they cannot deliver on time would be blamed on the server, so
their own lateness is measured and told beside the rest: a timer in the callers' process, and the round trip of the
least request to the doubles. Where they are late by more than some milliseconds, ask for fewer `--calls`.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence

import aiohttp
import uvloop

from bench.figures import Figure, figure, parser, write_figures
from bench.phrases import known_phrases, sentences
from bench.rig import BARE_SERVER, PRODUCT, Rig, cpu_s
from voice_agent.audio.mulaw import RATE_HZ
from voice_agent.pipeline.latency import percentile
from voice_agent.sandbox.callers.judge import Verdict, judge
from voice_agent.sandbox.callers.scenario import Expectations
from voice_agent.sandbox.callers.timeline import Timeline

REPLIES = (
    "Of course, which day would suit you best?",
    "Thank you, we have a place on Tuesday.",
    "That is no problem. Shall I book it?",
    "Certainly. You are down for Friday at three.",
    "I see. Is there anything else?",
    "Sure, you can park behind the house.",
)
"""Answers of two to three seconds, about as long as the callers' sentences. They begin as those of the rig do."""

BEGIN_EVERY_S = 0.12
"""One call after the other: a burst of handshakes is another benchmark."""

SETTLE_S = 6.0
"""From the last call's beginning to the measurement: its greeting, and a bit of its first turn."""

PROBE_S = 0.02


class Lateness:
    """How late timers of this process are, and how late the doubles answer. Sample with `watch`, until cancelled."""

    def __init__(self) -> None:
        self.callers_ms: list[float] = []
        self.doubles_ms: list[float] = []

    async def watch(self, rig: Rig) -> None:
        """Sample every 20 ms. One coroutine for both, so that the doubles' figure has this process's in it, too."""
        async with aiohttp.ClientSession() as session:
            while True:
                asked = time.monotonic()
                await asyncio.sleep(PROBE_S)
                woken = time.monotonic()
                async with session.get(rig.doubles_url) as response:
                    await response.read()
                self.callers_ms.append((woken - asked - PROBE_S) * 1_000)
                self.doubles_ms.append((time.monotonic() - woken) * 1_000)


class Load:
    """What one server made of the load."""

    def __init__(self) -> None:
        self.cpu_ms = 0.0
        """Of the server, for each second of each call."""

        self.callers_core = 0.0
        self.doubles_core = 0.0
        """Shares of the other core."""

        self.lateness = Lateness()
        self.latencies_ms: list[float] = []
        self.underruns_ms: list[float] = []
        self.stuck = 0
        self.talk_share = 0.0
        """Part of the time that callers speak."""

    def add(self, timeline: Timeline, verdict: Verdict, begin_s: float, end_s: float) -> None:
        """Add one call, as it was between two seconds of its line."""
        turns = [turn for turn in verdict.turns if begin_s <= turn.ended_s < end_s]
        self.latencies_ms += [turn.latency_ms for turn in turns if turn.latency_ms is not None]
        self.stuck += sum(turn.outcome == "stuck" for turn in turns)
        self.underruns_ms += verdict.underruns_ms
        begin, end = begin_s * RATE_HZ, end_s * RATE_HZ
        talked = [max(0.0, min(said.end, end) - max(said.start, begin)) for said in timeline.utterances]
        self.talk_share += sum(talked) / (end - begin)


async def measure(server: Sequence[str], *, calls: int, seconds: float) -> Load:
    """Load `server` with calls. Raises RuntimeError where not all of them were live while it was measured."""
    ramp_s = calls * BEGIN_EVERY_S
    steady_s = ramp_s + SETTLE_S
    renderings = await sentences(100, callers=10, limit_s=steady_s + seconds + 2.0)
    load = Load()
    async with Rig(replies=REPLIES, server=server) as rig:
        await rig.teach(known_phrases(renderings))
        calling = asyncio.create_task(rig.call(renderings, calls=calls, over_s=ramp_s))
        await asyncio.sleep(steady_s)
        await _sample(load, rig, calls, seconds)
        held = await calling
    for number, (_, timeline) in enumerate(held):
        begin_s = steady_s - ramp_s * number / calls
        load.add(timeline, judge(timeline, Expectations()), begin_s, begin_s + seconds)
    load.talk_share /= calls
    return load


async def _sample(load: Load, rig: Rig, calls: int, seconds: float) -> None:
    processes = rig.server, rig.doubles, rig.own
    before, began = [cpu_s(process) for process in processes], time.monotonic()
    live_before = rig.live_calls
    watching = asyncio.create_task(load.lateness.watch(rig))
    await asyncio.sleep(seconds)
    watching.cancel()
    took_s = time.monotonic() - began
    server, doubles, callers = (cpu_s(process) - used for process, used in zip(processes, before, strict=True))
    if (live_before, rig.live_calls) != (calls, calls):
        raise RuntimeError(f"{live_before} and then {rig.live_calls} of {calls} calls were live")
    load.cpu_ms = server * 1_000 / (calls * took_s)
    load.doubles_core, load.callers_core = doubles / took_s, callers / took_s


async def run(options: argparse.Namespace) -> list[Figure]:
    """Measure the floor and the product."""
    calls, at = options.calls, f"at {options.calls} calls"
    bare = await measure(BARE_SERVER, calls=calls, seconds=options.seconds)
    ours = await measure(PRODUCT, calls=calls, seconds=options.seconds)
    late, bare_late = ours.lateness, bare.lateness

    def latency(share: float, reach: float) -> Figure:
        floor = percentile(bare.latencies_ms, share)
        name = f"voice-to-voice p{share:g} {at}"
        return figure(name, percentile(ours.latencies_ms, share), "ms", floor=floor, reach=reach)

    return [
        figure(f"server CPU {at}", ours.cpu_ms, "ms per call-second", floor=bare.cpu_ms, reach=5),
        latency(50, 440),
        latency(95, 520),
        figure(f"turns measured {at}", len(ours.latencies_ms), "turns"),
        figure(f"turns without an answer {at}", ours.stuck, "turns", floor=bare.stuck, reach=0),
        figure(f"underruns {at}", len(ours.underruns_ms), "gaps", floor=len(bare.underruns_ms), reach=0),
        figure("share of the time that callers talk", 100 * ours.talk_share, "%", floor=100 * bare.talk_share),
        figure("callers' share of their core", 100 * ours.callers_core, "%", floor=100 * bare.callers_core),
        figure("doubles' share of the same core", 100 * ours.doubles_core, "%", floor=100 * bare.doubles_core),
        figure("callers' timers late p99", percentile(late.callers_ms, 99), "ms",
               floor=percentile(bare_late.callers_ms, 99)),
        figure("doubles' least answer p99", percentile(late.doubles_ms, 99), "ms",
               floor=percentile(bare_late.doubles_ms, 99)),
        figure("load average of the machine", os.getloadavg()[0], "processes"),
    ]  # fmt: skip


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--calls", type=int, default=80)
    command_line.add_argument("--seconds", type=float, default=24.0, help="how long to measure")
    options = command_line.parse_args()
    write_figures(options.json, uvloop.run(run(options)))


if __name__ == "__main__":
    main()
