"""Several processes behind one port: a parent binds it, starts workers that all accept on it, and looks after them.

A worker that dies is started again, in a moment the first time, later and later where it keeps dying; its calls come
back through the shared port to another one. SIGTERM goes on to the workers, which drain; a second one too. The parent
ends when the last of them has. Should the parent itself be killed, the workers notice that their standard input has
closed, and drain.

The parent knows nothing of calls, and loads nothing that does: it is up at once and takes little memory. A worker is
`python -m voice_agent.serving`.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence

import structlog

from voice_agent.process import READY, OnListening, configure_logging, listen
from voice_agent.settings import Settings

LONG_ENOUGH_S = 10.0
"""A worker that has lived for so long did not die of its start."""

RESTART_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before a worker is started again, by how often in a row it died early."""

TAKE_OVER_S = 3.0
"""For so long those that still run have the machine for themselves: a start takes seconds of CPU, calls that come back
cannot wait for it."""

OVERTIME_S = 40.0
"""A worker that is at it so long after its deadline, or after the second signal, is stuck, and is killed; goodbyes and
the web server's own end take 30 s at the most."""

WORKER = (sys.executable, "-P", "-m", "voice_agent.serving")
"""Followed by the descriptor of the listening socket and the public address."""

log = structlog.get_logger(__name__)


def run(settings: Settings, *, workers: int, on_listening: OnListening | None = None) -> None:
    """Serve until SIGTERM or SIGINT has drained every process."""
    configure_logging(settings.server.log_level)
    listener, base_url = listen(settings.server)
    with listener:
        asyncio.run(Supervisor(listener, base_url, settings, workers).run(on_listening))


class Supervisor:
    """The parent."""

    def __init__(
        self,
        listener: socket.socket,
        base_url: str,
        settings: Settings,
        workers: int,
        *,
        command: Sequence[str] = WORKER,
    ) -> None:
        self._command = command
        self._listener = listener
        self._base_url = base_url
        self._settings = settings
        self._count = workers
        self._running: dict[int, Process] = {}
        self._is_ending = asyncio.Event()
        self._ready: set[int] = set()
        self._all_ready = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [process.pid for process in self._running.values()]

    async def run(self, on_listening: OnListening | None = None) -> None:
        """Keep the workers running until they have ended because they were told to."""
        if not self._settings.storage.redis_url.get_secret_value():
            log.warning("workers_share_nothing", why="without REDIS_URL each limits, and tells of, its own calls alone")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        try:
            async with asyncio.TaskGroup() as group:
                for slot in range(self._count):
                    group.create_task(self._keep(slot), name=f"worker-{slot}")
                group.create_task(self._announce(on_listening), name="announce")
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _announce(self, on_listening: OnListening | None) -> None:
        await self._all_ready.wait()
        if on_listening is not None and not self._is_ending.is_set():
            on_listening(self._base_url)

    def _end(self, number: int) -> None:
        """Pass the signal on, each time; nobody is started any more, and nothing new is accepted here."""
        log.info("workers_told_to_end", signal=number, workers=len(self._running))
        was_ending = self._is_ending.is_set()
        self._is_ending.set()
        self._all_ready.set()
        self._listener.close()
        self._signal_all(signal.SIGTERM)
        left_s = OVERTIME_S if was_ending else self._settings.server.drain_s + OVERTIME_S
        asyncio.get_running_loop().call_later(left_s, self._signal_all, signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(number)

    async def _keep(self, slot: int) -> None:
        early_deaths = 0
        loop = asyncio.get_running_loop()
        while not self._is_ending.is_set():
            began_at = loop.time()
            process = await self._start(slot)
            status = await self._watch(slot, process)
            if self._is_ending.is_set():
                return
            early_deaths = 0 if loop.time() - began_at >= LONG_ENOUGH_S else early_deaths + 1
            delay_s = self._delay_s(early_deaths)
            log.error("worker_died", slot=slot, pid=process.pid, status=status, restart_in_s=delay_s)
            await self._pause(delay_s)

    def _delay_s(self, early_deaths: int) -> float:
        delay_s = RESTART_S[min(early_deaths, len(RESTART_S)) - 1] if early_deaths else 0.0
        return max(delay_s, TAKE_OVER_S) if self._running else delay_s

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._is_ending.wait()
        except TimeoutError:
            pass

    async def _start(self, slot: int) -> Process:
        descriptor = self._listener.fileno()
        server = self._settings.server
        process = await asyncio.create_subprocess_exec(
            *self._command,
            str(descriptor),
            self._base_url,
            pass_fds=(descriptor,),
            stdin=PIPE,
            stdout=PIPE,
            env=worker_environment(slot, self._settings, {"HOST": server.host, "PORT": str(server.port)}),
            # Ctrl-C reaches the workers through the parent alone.
            start_new_session=True,
        )
        self._running[slot] = process
        if self._is_ending.is_set():  # the signal came while it was being started
            process.terminate()
        return process

    async def _watch(self, slot: int, process: Process) -> int:
        """Return how the worker has ended, once it has."""
        if process.stdout is not None and await process.stdout.readline() == READY:
            self._ready.add(slot)
            if len(self._ready) == self._count:
                self._all_ready.set()
        status = await process.wait()
        del self._running[slot]
        if process.stdin is not None:
            process.stdin.close()
        return status


def worker_environment(slot: int, settings: Settings, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return a worker's environment: of those that share a machine one runs jobs, and no two have the same slot."""
    environment = {**os.environ, **chosen}
    if slot:
        environment |= {"JOBS_SLOT": f"{settings.jobs.slot[:28]}-{slot}", "JOBS_IN_SERVER": "false"}
    return environment
