"""Run the last stage of a Dockerfile as an engine would: its account, no capability, a read-only root, process 1.

The network is this machine's own. The server listens on its loopback address alone.
"""

# ruff: noqa: S603 - no command here comes from outside the project, and the machine's own tools are meant

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from image_file import Stage
from image_stages import bound, mounted

FORK_S = 5.0
"""How long unshare may take to start it."""


class Container:
    """A root that commands are run in."""

    def __init__(self, root: Path, stages: Sequence[Stage], settings: Mapping[str, str]) -> None:
        """`stages` lead from the base to the stage itself: later ones overrule. `settings` are variables."""
        self._root = root
        self._words: dict[str, str] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        self.environment: dict[str, str] = {}
        self.health_check: tuple[str, ...] = ()
        for stage in stages:
            self._words |= stage.words
            self._lists |= stage.lists
            self.environment |= stage.environment
            self.health_check = stage.health_check or self.health_check
        self.environment |= settings

    @property
    def user(self) -> int:
        """The user id that the image runs as."""
        return int(self._words["USER"].partition(":")[0])

    @property
    def default_command(self) -> tuple[str, ...]:
        """What follows the entry point where nothing else is asked for."""
        return self._lists["CMD"]

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start the entry point with these arguments."""
        return self._start((*self._lists["ENTRYPOINT"], *arguments))

    def run(self, *command: str, timeout_s: float) -> int:
        """Run a command beside it to its end; return the exit code."""
        with self._start(command) as process:
            try:
                return process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    def _start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        user, group = self._words["USER"].split(":")
        apart = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        apart += [f"--root={self._root}", f"--wd={self._words['WORKDIR']}"]
        account = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        account += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return subprocess.Popen([*apart, *account, *command], env=self.environment)


@contextmanager
def container(root: Path, stages: Sequence[Stage], place: Path, settings: Mapping[str, str]) -> Iterator[Container]:
    """Mount the root read-only at a place, with its volume and a /tmp beside it that can be written."""
    volume = stages[-1].words["VOLUME"].lstrip("/")
    kept = place.with_name(f"{place.name}-volume")
    shutil.copytree(root / volume, kept)
    shutil.chown(kept, (root / volume).stat().st_uid, (root / volume).stat().st_gid)
    with ExitStack() as stack:
        stack.enter_context(bound(root, place))
        stack.enter_context(bound(kept, place / volume, is_writable=True))
        stack.enter_context(mounted("tmpfs", place / "tmp", "-t", "tmpfs", "-o", "mode=1777"))
        yield Container(place, stages, settings)


def first_process(unshared: "subprocess.Popen[bytes]") -> int:
    """Return the id, outside, of the process that is number 1 inside."""
    children = Path(f"/proc/{unshared.pid}/task/{unshared.pid}/children")
    until = time.monotonic() + FORK_S
    while not (found := children.read_text("ascii").split()) and time.monotonic() < until:
        time.sleep(0.01)
    return int(found[0])


def terminate(unshared: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM to it, as an engine does in order to stop a container."""
    os.kill(first_process(unshared), signal.SIGTERM)
