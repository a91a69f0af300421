"""Carry out the stages of a Dockerfile: each is a folder, RUN is a command in a chroot, COPY copies.

Mounts are made and undone here; `scripts/image.py` sees to it that the process has a mount namespace of its own.
"""

# ruff: noqa: S603 - no command here comes from outside the project, and the machine's own tools are meant

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from image_file import Stage, Step, ignored
from image_packages import PLACE, Sources

STEP_S = 1_200.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Say = Callable[[str], None]


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end. Raises CalledProcessError with what it said."""
    words = [str(word) for word in command]
    subprocess.run(
        words,
        check=True,
        timeout=STEP_S,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def mounted(source: Path | str, target: Path, *options: str) -> Iterator[None]:
    """Have something mounted on a folder, which is made for it and goes with it."""
    made = [folder for folder in (target, *target.parents) if not folder.exists()]
    target.mkdir(parents=True, exist_ok=True)
    run(["mount", *options, source, target])
    try:
        yield
    finally:
        run(["umount", "--lazy", target])
        for folder in made:
            folder.rmdir()


@contextmanager
def bound(source: Path, target: Path, *, is_writable: bool = False) -> Iterator[None]:
    """Have a folder at a second place, read-only unless said otherwise."""
    with mounted(source, target, "--bind"):
        if not is_writable:
            run(["mount", "-o", "remount,bind,ro", target])
        yield


class Builder:
    """Builds stages beneath one folder, from the files of a project that its .dockerignore lets in."""

    def __init__(self, folder: Path, project: Path, ignore: Sequence[str], sources: Sources, say: Say) -> None:
        self._folder = folder
        self._project = project
        self._ignore = ignore
        self._sources = sources
        self._say = say

    def root(self, name: str) -> Path:
        """Return the folder of a stage."""
        return self._folder / name.replace(":", "_").replace("/", "_")

    def debian(self, image: str, release: str) -> None:
        """Make the clean Debian root that stands for an image."""
        run(["debootstrap", "--variant=minbase", release, self.root(image), self._sources.mirror])

    def build(self, stage: Stage) -> None:
        """Carry out one stage; those that it builds on are there already."""
        root = self.root(stage.name)
        run(["cp", "--archive", "--reflink=auto", self.root(stage.parent), root])
        for step in stage.steps:
            self._say(f"{stage.name}: {step.kind} {' '.join(step.words)}")
            if step.kind == "COPY":
                self._copy(step, root)
            else:
                self._run(step, root)

    def _run(self, step: Step, root: Path) -> None:
        with ExitStack() as stack:
            stack.enter_context(mounted("proc", root / "proc", "-t", "proc"))
            stack.enter_context(bound(self._sources.folder, root / PLACE.lstrip("/")))
            for folder in self._sources.local:
                stack.enter_context(bound(folder, root / folder.relative_to("/")))
            variables = {"PATH": SYSTEM_PATH, "HOME": "/root", **step.environment, **self._sources.environment}
            run(["/usr/sbin/chroot", root, "/bin/sh", "-c", " ".join(step.words)], environment=variables)

    def _copy(self, step: Step, root: Path) -> None:
        *names, target = step.words
        origin = self.root(step.origin) if step.origin else self._project
        for name in names:
            source = origin / name.lstrip("/")
            place = root / target.lstrip("/")
            if source.is_file():
                place = place / source.name if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, place)
            elif step.origin:
                place.mkdir(parents=True, exist_ok=True)
                run(["cp", "--archive", "--no-target-directory", source, place])
            else:
                shutil.copytree(source, place, dirs_exist_ok=True, ignore=self._left_out)

    def _left_out(self, folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(self._project).as_posix()
        return {name for name in names if ignored(f"{inside}/{name}", self._ignore)}
