"""Waiting for what another task, or the other end of a socket, does in its own time."""

import asyncio
from collections.abc import Callable

STEP_S = 0.005
STEPS = 2_000


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail after ten seconds."""
    for _ in range(STEPS):
        if condition():
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError("it never happened")
