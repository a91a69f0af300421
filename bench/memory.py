"""What a call takes of the server's memory: its resident set with few and with many live calls, and once more.

A few calls warm the process up: interpreter, SDKs and pools grow once for the first calls, not for each. Then a few
are held, and many; the difference, for each additional call, is the figure. They end, and as many come again: what the
process has grown by from the one crowd to the next hints at a leak. Calls talk as in bench/density.py, and the median
of some seconds is taken, so that audio on its way is in the figure. The floor is bench/bare_server.py.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence

import msgspec
import uvloop

from bench.density import BEGIN_EVERY_S, REPLIES
from bench.figures import Figure, figure, parser, write_figures
from bench.phrases import known_phrases, sentences
from bench.rig import BARE_SERVER, PRODUCT, Rig
from voice_agent.sandbox.callers.clips import Rendering

SETTLE_S = 3.0
"""Greeting and first turn."""

SAMPLE_S = 2.0
"""For so long the resident set is looked at, ten times a second."""


class Sizes(msgspec.Struct, kw_only=True):
    """Resident sets of one server, kB."""

    idle: float = 0.0
    few: float = 0.0
    many: float = 0.0
    idle_again: float = 0.0
    many_again: float = 0.0


class Crowd:
    """Calls that come and go at one server."""

    def __init__(self, rig: Rig, renderings: Sequence[Rendering]) -> None:
        self._rig = rig
        self._renderings = renderings
        self._held: list[asyncio.Task[object]] = []
        self._size = 0

    async def grow(self, calls: int) -> float:
        """Have more callers come until `calls` are live; return the resident set then. Raises RuntimeError."""
        more, self._size = calls - self._size, calls
        ramp_s = more * BEGIN_EVERY_S
        self._held.append(asyncio.create_task(self._rig.call(self._renderings, calls=more, over_s=ramp_s)))
        await asyncio.sleep(ramp_s)
        return await self.weigh()

    async def leave(self) -> float:
        """Have all hang up; return the resident set of the idle server."""
        self._rig.hang_up()
        await asyncio.gather(*self._held)
        self._held.clear()
        self._size = 0
        return await self.weigh()

    async def weigh(self) -> float:
        """Return the resident set in kB. Raises RuntimeError where some calls are missing, or did not end."""
        await asyncio.sleep(SETTLE_S)
        if self._rig.live_calls != self._size:
            raise RuntimeError(f"{self._rig.live_calls} calls are live, not {self._size}")
        seen = []
        for _ in range(round(SAMPLE_S * 10)):
            seen.append(self._rig.server.memory_info().rss / 1_024)
            await asyncio.sleep(0.1)
        return statistics.median(seen)


async def measure(server: Sequence[str], *, few: int, many: int) -> Sizes:
    """Weigh one server."""
    renderings = await sentences(100, callers=10)
    async with Rig(replies=REPLIES, server=server) as rig:
        await rig.teach(known_phrases(renderings))
        crowd = Crowd(rig, renderings)
        await crowd.grow(few)
        return Sizes(
            idle=await crowd.leave(),
            few=await crowd.grow(few),
            many=await crowd.grow(many),
            idle_again=await crowd.leave(),
            many_again=await crowd.grow(many),
        )


async def run(options: argparse.Namespace) -> list[Figure]:
    """Weigh the floor and the product."""
    more = options.many - options.few
    bare = await measure(BARE_SERVER, few=options.few, many=options.many)
    ours = await measure(PRODUCT, few=options.few, many=options.many)
    return [
        figure(
            f"memory per additional call, {options.few} to {options.many}",
            (ours.many - ours.few) / more,
            "kB",
            floor=(bare.many - bare.few) / more,
            reach=300,
        ),
        figure("server without calls", ours.idle / 1_024, "MB", floor=bare.idle / 1_024),
        figure(f"server with {options.many} calls", ours.many / 1_024, "MB", floor=bare.many / 1_024),
        figure(
            "kept after the calls ended, per call",
            (ours.idle_again - ours.idle) / options.many,
            "kB",
            floor=(bare.idle_again - bare.idle) / options.many,
        ),
        figure(
            "grown when as many came again, per call",
            (ours.many_again - ours.many) / options.many,
            "kB",
            floor=(bare.many_again - bare.many) / options.many,
        ),
    ]


def main() -> None:
    """Measure and report."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--few", type=int, default=10, help="calls at first")
    command_line.add_argument("--many", type=int, default=60, help="calls at last")
    options = command_line.parse_args()
    write_figures(options.json, uvloop.run(run(options)))


if __name__ == "__main__":
    main()
