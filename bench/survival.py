"""What calls survive: the death of their worker, and the end of their server.

Kills: two workers behind one port. All calls of a round come to one of them, because the other one has just been killed
with no call in it and is being started again. In the middle of the calls theirs is killed, too: each has to come back
with the other worker, all at once, and is heard again when its caller hears the agent.

Drains: a server in the middle of calls is told to end (SIGTERM). Every caller has to come to the end of the call as if
nothing had been; the process then ends by itself.

Lost replies: `bench.lost_replies`, whose figures are among these.
"""

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence

import msgspec
import psutil
import structlog
import uvloop

from bench.figures import Figure, figure, parser, write_figures
from bench.lost_replies import measure as lost_replies
from bench.phrases import known_phrases, sentences
from bench.rig import PRODUCT, Rig, cpu_s
from voice_agent.audio.mulaw import FRAME_BYTES, RATE_HZ, decode, rms
from voice_agent.pipeline.latency import percentile
from voice_agent.sandbox.callers.ear import AUDIBLE_RMS
from voice_agent.sandbox.callers.judge import judge
from voice_agent.sandbox.callers.scenario import Expectations
from voice_agent.sandbox.callers.timeline import Timeline
from voice_agent.sandbox.carrier.journal import StreamClosed, StreamOpened

BEGIN_EVERY_S = 0.12
"""One call after the other: a burst of handshakes is another benchmark."""

SETTLE_S = 5.0
"""From the last call's beginning to the kill, at least."""

RESTART_S = 120.0
"""The longest that the other worker may take to be up again."""

IDLE_S = 4.0
IDLE_CPU_S = 0.4
"""A worker that uses no more in that time is not starting any more, however busy the machine is."""

COME_BACK_S = 10.0
"""From the kill to the end of the round."""

HEARD_AGAIN_S = 3.0
"""How long a caller may wait (F47)."""

DRAIN_SETTLE_S = 4.0
DRAIN_LEFT_S = 12.0
"""From SIGTERM to the last caller's hanging up."""

EXIT_S = 30.0


class Kills(msgspec.Struct):
    """What became of the calls whose workers were killed."""

    gaps_s: list[float] = msgspec.field(default_factory=list)
    """From the death of the stream to the agent's next sound."""
    lost: int = 0
    """Callers who never heard the agent again."""
    spared: int = 0
    """Calls that were with the other worker after all."""


class Drains(msgspec.Struct):
    """What became of the calls of servers that were told to end."""

    calls: int = 0
    dropped: int = 0
    unanswered: int = 0
    """Turns without an answer."""
    exits_s: list[float] = msgspec.field(default_factory=list)
    """From the last call's end to that of the process."""


# --- kills --------------------------------------------------------------------------------------------------------
async def kill(calls: int, rounds: int) -> Kills:
    """Kill a worker in the middle of its calls, as often as there are rounds."""
    kills = Kills()
    ramp_s = calls * BEGIN_EVERY_S
    renderings = await sentences(100, callers=10)
    async with Rig(server=(*PRODUCT, "--workers", "2")) as rig:
        await rig.teach(known_phrases(renderings))
        for _ in range(rounds):
            older, newer = sorted(rig.server.children(), key=psutil.Process.create_time)
            newer.kill()
            calling = asyncio.create_task(rig.call(renderings, calls=calls, over_s=ramp_s))
            await asyncio.sleep(ramp_s + SETTLE_S)
            await _until_there_are_two(rig.server, older)
            older.kill()
            await asyncio.sleep(COME_BACK_S)
            rig.hang_up()
            for call_sid, timeline in await calling:
                _note(kills, rig, call_sid, timeline)
    return kills


async def _until_there_are_two(parent: psutil.Process, older: psutil.Process) -> None:
    """Return when a worker beside `older` is up and idle. Raises RuntimeError where none is in time."""
    for _ in range(int(RESTART_S / IDLE_S)):
        others = [each for each in parent.children() if each.pid != older.pid]
        used = [cpu_s(each) for each in others]
        await asyncio.sleep(IDLE_S)
        if others and others[0].is_running() and used[0] > 1.0 and cpu_s(others[0]) - used[0] < IDLE_CPU_S:
            return
    raise RuntimeError("the other worker did not start")


def _note(kills: Kills, rig: Rig, call_sid: str, timeline: Timeline) -> None:
    entries = rig.carrier.journal.of_call(call_sid)
    closed = next((each.sample for each in entries if isinstance(each, StreamClosed) and each.by == "server"), None)
    if closed is None:
        kills.spared += 1
        return
    opened = [each.sample for each in entries if isinstance(each, StreamOpened) and each.sample >= closed]
    heard = _first_sound(timeline.heard, opened[0]) if opened else None
    if heard is None:
        kills.lost += 1
    else:
        kills.gaps_s.append((heard - closed) / RATE_HZ)


def _first_sound(heard: bytes, begin: int) -> int | None:
    """Return the first audible sample from `begin` on."""
    for sample in range(begin, len(heard), FRAME_BYTES):
        if rms(decode(heard[sample : sample + FRAME_BYTES])) >= AUDIBLE_RMS:
            return sample
    return None


# --- drains -------------------------------------------------------------------------------------------------------
async def drain(calls: int, rounds: int) -> Drains:
    """End a server in the middle of its calls, as often as there are rounds."""
    drains = Drains()
    ramp_s = calls * BEGIN_EVERY_S
    renderings = await sentences(100, callers=10, limit_s=ramp_s + DRAIN_SETTLE_S + DRAIN_LEFT_S)
    for _ in range(rounds):
        async with Rig() as rig:
            await rig.teach(known_phrases(renderings))
            calling = asyncio.create_task(rig.call(renderings, calls=calls, over_s=ramp_s))
            await asyncio.sleep(ramp_s + DRAIN_SETTLE_S)
            rig.server.send_signal(signal.SIGTERM)
            held = await calling
            drains.exits_s.append(await _seconds_to_exit(rig.server))
            for call_sid, timeline in held:
                streams = [each for each in rig.carrier.journal.of_call(call_sid) if isinstance(each, StreamOpened)]
                drains.calls += 1
                drains.dropped += len(streams) != 1 or not timeline.has_caller_hung_up
                turns = judge(timeline, Expectations()).turns
                drains.unanswered += sum(turn.outcome == "stuck" for turn in turns)
    return drains


async def _seconds_to_exit(process: psutil.Process) -> float:
    began = time.monotonic()
    await asyncio.to_thread(_wait, process.pid)
    return time.monotonic() - began


def _wait(pid: int) -> None:
    """Wait for a process without taking its exit status, which belongs to whoever started it."""
    deadline = time.monotonic() + EXIT_S
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


async def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    kills = await kill(options.kill_calls, options.kills)
    drains = await drain(options.drain_calls, options.drains)
    lost = await lost_replies(options.lost, options.resets)
    return [*_kill_figures(kills), *_drain_figures(drains), *lost, _load()]


def _kill_figures(kills: Kills) -> Sequence[Figure]:
    late = sum(gap > HEARD_AGAIN_S for gap in kills.gaps_s)
    return [
        figure("calls whose worker was killed", len(kills.gaps_s) + kills.lost, "calls"),
        figure("killed: never heard again", kills.lost, "calls", reach=0),
        figure(f"killed: heard again after more than {HEARD_AGAIN_S:g} s", late, "calls", reach=0),
        figure("killed: heard again p50", percentile(kills.gaps_s, 50), "s"),
        figure("killed: heard again, slowest", max(kills.gaps_s, default=0.0), "s", reach=HEARD_AGAIN_S),
        figure("calls that were with the other worker", kills.spared, "calls"),
    ]


def _drain_figures(drains: Drains) -> Sequence[Figure]:
    return [
        figure("calls whose server was told to end", drains.calls, "calls"),
        figure("told to end: calls dropped", drains.dropped, "calls", reach=0),
        figure("told to end: turns without an answer", drains.unanswered, "turns", reach=0),
        figure("told to end: last call to the end of the process", max(drains.exits_s, default=0.0), "s", reach=1),
    ]


def _load() -> Figure:
    return figure("load average of the machine", os.getloadavg()[0], "processes")


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--kill-calls", type=int, default=20)
    command_line.add_argument("--kills", type=int, default=10)
    command_line.add_argument("--drain-calls", type=int, default=50)
    command_line.add_argument("--drains", type=int, default=5)
    command_line.add_argument("--lost", type=int, default=500)
    command_line.add_argument("--resets", type=int, default=100)
    options = command_line.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    write_figures(options.json, uvloop.run(run(options)))


if __name__ == "__main__":
    main()
