"""Every test runs under a leak check: what it opened (asyncio tasks, descriptors, threads) is gone when it ends.

How it works: tasks are looked at inside the test's event loop, after all of its fixtures have been torn down;
descriptors and threads after the loop itself has been closed. What closes a moment later (a transport closes its
socket in the next loop turn, an executor thread ends after its last result) gets `SETTLE_S` to do so.

Hypothesis has two profiles: `local` draws other examples in every run, `ci` (where CI is set) the same ones always, so
that a change fails for what it changed. Neither times an example: the machine may be busy.
"""

import asyncio
import gc
import multiprocessing.resource_tracker
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.servers.fixtures"]

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if "CI" in os.environ else "local")

# What structlog does unasked draws every frame of a traceback with its variables: 20 s for one of the job engine's.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f"),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

SETTLE_S = 2.0
"""Only a test that leaks waits this long."""

_BEFORE = pytest.StashKey["tuple[Descriptors, set[threading.Thread]]"]()

Descriptors = dict[tuple[int, int, int], str]
"""Open descriptors by (number, device, inode): a number that was closed and opened again is another one."""


def open_descriptors() -> Descriptors:
    """Return what this process has open, each with a word for the message."""
    found: Descriptors = {}
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
            found[int(name), status.st_dev, status.st_ino] = _target(name)
        except OSError:  # the descriptor of the listing itself, closed by now
            continue
    return found


def _target(number: str) -> str:
    try:
        return f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}"
    except OSError:  # no /proc outside Linux
        return number


def _is_of_the_process(number: int, target: str) -> bool:
    """Tell whether a descriptor belongs to the interpreter's whole life rather than to a test."""
    # 0 to 2 are the standard streams: pytest's capturing swaps them between the phases of a test.
    # multiprocessing starts one tracker process on first use and holds its pipe until the interpreter ends.
    tracker: int | None = getattr(multiprocessing.resource_tracker._resource_tracker, "_fd", None)
    # Python keeps /dev/urandom open after the first use where getrandom(2) is absent; libraries do everywhere.
    return number <= 2 or number == tracker or target.endswith("/dev/urandom")


def _leaked_descriptors(before: Descriptors) -> list[str]:
    return [
        f"descriptor {target}"
        for key, target in open_descriptors().items()
        if key not in before and not _is_of_the_process(key[0], target)
    ]


def _leaked_threads(before: set[threading.Thread]) -> list[str]:
    return [f"thread {thread.name}" for thread in threading.enumerate() if thread not in before and thread.is_alive()]


def _settled(leaks: Callable[[], list[str]]) -> list[str]:
    """Return what is still leaked once everything had its moment to close; at once where nothing is."""
    if not leaks():
        return []
    gc.collect()  # a descriptor may hang on a reference cycle of a finished test
    deadline = time.monotonic() + SETTLE_S
    while (remaining := leaks()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return remaining


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(3):
        await asyncio.sleep(0)  # an aborted transport closes its socket in a later turn of the loop
    if leaked := asyncio.all_tasks() - before - {asyncio.current_task()}:
        _, leaked = await asyncio.wait(leaked, timeout=SETTLE_S)
    if leaked:
        lines = "\n".join(f"  {task!r}" for task in list(leaked)[:5])
        pytest.fail(f"the test left {len(leaked)} asyncio task(s) running:\n{lines}", pytrace=False)


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> None:
    """Remember what is open; `pytest_runtest_teardown` compares."""
    request.node.stash[_BEFORE] = (open_descriptors(), set(threading.enumerate()))
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_no_leaked_tasks")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail the test that left descriptors or threads behind, after everything of its own has been torn down."""
    yield
    before = item.stash.get(_BEFORE, None)
    if before is None:
        return
    descriptors, threads = before
    leaked = _settled(lambda: _leaked_descriptors(descriptors) + _leaked_threads(threads))
    if leaked:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaked), pytrace=False)
