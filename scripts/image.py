"""Carry out the Dockerfile in a clean Debian root, and prove the image: `make image`. Needs root, and no engine.

How it works: the instructions are read from the Dockerfile (`image_file`) and carried out (`image_stages`), the first
stage on a root that debootstrap makes. Then the server is started as an engine would start it (`image_container`). It
has to answer /healthz and /readyz, to pass the image's health check, to hold a call, to write nothing but its volume,
and to end well within seconds of SIGTERM.

What it does not show: layers, and an engine's own network and limits. Everything is removed at the end. All mounts are
in a namespace of their own, which ends with its processes, so that nothing of this machine can be removed with them.
"""

# ruff: noqa: S603, S607 - no command here comes from outside the project, and the machine's own tools are meant

import argparse
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from image_container import Container, container, first_process, terminate
from image_file import Stage, parse, patterns
from image_packages import NoMirror, read_sources
from image_stages import Builder

PROJECT = Path(__file__).resolve().parent.parent
LIMIT_S = 1_800.0
"""The whole run; it takes a fraction of that on two cores."""

START_S = 90.0
END_S = 20.0
CALL_S = 180.0
SETTLE_S = 5.0
"""A worker that is wrong ends within that."""

SHOWN_LINES = 40
"""How much of what a failed step said."""

CALL = "hang_up"
"""The built-in scenario of the call that the image has to hold."""


class Failure(Exception):
    """The image is not what it has to be."""


def say(text: str) -> None:
    """Tell what is being done."""
    sys.stdout.write(f"==> {text}\n")
    sys.stdout.flush()


def demand(is_so: bool, what: str) -> None:
    """Raise Failure where something is not so; tell it where it is."""
    if not is_so:
        raise Failure(f"not so: {what}")
    say(f"proved: {what}")


def build(folder: Path) -> tuple[Path, list[Stage]]:
    """Carry out the Dockerfile; return the root of its last stage, and the stages that lead to it."""
    stages = parse((PROJECT / "Dockerfile").read_text("utf-8"))
    by_name = {stage.name: stage for stage in stages}
    image = stages[0].parent
    release = image.partition(":")[2].partition("-")[0]
    sources = read_sources(release, folder / "machine")
    ignore = patterns((PROJECT / ".dockerignore").read_text("utf-8"))
    builder = Builder(folder, PROJECT, ignore, sources, say)
    say(f"a clean root of Debian's {release}")
    builder.debian(image, release)
    for stage in stages:
        builder.build(stage)
    line = [stages[-1]]
    while (parent := line[0].parent) in by_name:
        line.insert(0, by_name[parent])
    return builder.root(stages[-1].name), line


def prove(root: Path, line: Sequence[Stage], folder: Path) -> None:
    """Raise Failure where the image is not what it has to be."""
    demand(not list(root.glob("opt/voice-agent/lib/python3*/site-packages/pip")), "nothing can be installed in it")
    demand(not any((root / name).exists() for name in ("machine", "src", "opt/tools")), "the tools stayed behind")
    port, carrier_port = _free_port(), _free_port()
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        # Nobody's account, at the sandbox's carrier.
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "TWILIO_BASE_URL": f"http://127.0.0.1:{carrier_port}",
    }
    with container(root, line, folder / "container", settings) as image:
        for command in (image.default_command, ("serve", "--workers", "2")):
            _prove_server(image, port, command)
        _prove_worker(image)
        databases = [path for path in (folder / "container-volume").iterdir() if path.suffix == ".db"]
        demand(bool(databases), "the database is in the volume")
        demand(all(path.stat().st_uid == image.user for path in databases), "it belongs to the image's account")


def _prove_server(image: Container, port: int, command: Sequence[str]) -> None:
    name = " ".join(command)
    with _started(image, command) as process:
        began_at = time.monotonic()
        _wait_until(process, lambda: _status(port, "/healthz") == http.client.OK, "healthy")
        say(f"{name}: up after {time.monotonic() - began_at:.1f} s")
        demand(_status(port, "/readyz") == http.client.OK, f"{name}: ready")
        demand(
            _users(first_process(process)) == {image.user}, f"{name}: runs as user {image.user}, without capabilities"
        )
        demand(image.run(*image.health_check, timeout_s=20) == 0, f"{name}: the health check passes")
        hook = f"http://127.0.0.1:{port}/twilio/voice"
        code = image.run("voice-agent", "simulate", CALL, "--url", hook, timeout_s=CALL_S)
        demand(code == 0, f"{name}: holds a call")
        _prove_end(process, name)
    demand(image.run(*image.health_check, timeout_s=20) == 1, f"{name}: the health check fails after its end")


def _prove_worker(image: Container) -> None:
    with _started(image, ("worker",)) as process:
        _wait_until(process, lambda: _is_caught(signal.SIGTERM, first_process(process)), "told how to end")
        time.sleep(SETTLE_S)
        demand(process.poll() is None, "worker: runs")
        _prove_end(process, "worker")


def _prove_end(process: "subprocess.Popen[bytes]", name: str) -> None:
    began_at = time.monotonic()
    terminate(process)
    code = process.wait(END_S)
    demand(code == 0, f"{name}: exit code 0 (is {code}) {time.monotonic() - began_at:.1f} s after SIGTERM")


@contextmanager
def _started(image: Container, command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = image.start(*command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until(process: "subprocess.Popen[bytes]", is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + START_S
    while not is_so():
        if process.poll() is not None:
            raise Failure(f"it ended with exit code {process.returncode} before it was {what}")
        if time.monotonic() > until:
            raise Failure(f"it was not {what} within {START_S:.0f} s")
        time.sleep(0.2)


def _is_caught(number: int, pid: int) -> bool:
    """Tell whether what tini has started handles a signal."""
    children = _children(pid)
    return bool(children) and bool(int(_process(children[0])["SigCgt"], 16) >> (number - 1) & 1)


def _status(port: int, path: str) -> int:
    """Return the HTTP status; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _users(pid: int) -> set[int]:
    """Return the user ids of a process and its descendants. Raises Failure where one of them has capabilities."""
    status = _process(pid)
    if int(status["CapEff"], 16) or int(status["CapBnd"], 16):
        raise Failure(f"process {status['Name']} has capabilities")
    found = {int(user) for user in status["Uid"].split()}
    for child in _children(pid):
        found |= _users(child)
    return found


def _process(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _inside(folder: Path) -> int:
    try:
        root, line = build(folder)
        size = subprocess.run(["du", "-sm", str(root)], check=True, capture_output=True, text=True).stdout.split()[0]
        say(f"the image holds {size} MB")
        prove(root, line, folder)
    except (Failure, NoMirror, subprocess.SubprocessError) as error:
        said = str(getattr(error, "output", None) or "").splitlines()[-SHOWN_LINES:]
        sys.stderr.write("\n".join([*said, f"make image: {error}", ""]))
        return 1
    say("the image is what it has to be")
    return 0


def _require_tools() -> None:
    """Install debootstrap where it is missing. Raises Failure where that is not possible."""
    if os.geteuid() != 0:
        raise Failure("making a root, mounting and changing users need root: sudo make image")
    if shutil.which("debootstrap") is None:
        say("installing debootstrap")
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "debootstrap"], check=True)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Make a folder, have the work done in namespaces of its own, and remove the folder. Return the exit code."""
    parser = argparse.ArgumentParser(description="Build the image without a container engine, and prove it.")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="Where to work; half a dozen GB. Default: the temporary folder.")
    arguments = parser.parse_args()
    if arguments.inside:
        return _inside(arguments.inside)
    try:
        _require_tools()
    except (Failure, subprocess.SubprocessError) as error:
        sys.stderr.write(f"make image: {error}\n")
        return 1
    signal.signal(signal.SIGTERM, _end)
    apart = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with tempfile.TemporaryDirectory(prefix="voice-agent-image-", dir=arguments.folder) as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - the account of the image passes through it
        try:
            return subprocess.run([*apart, sys.executable, __file__, "--inside", folder], timeout=LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"make image: not done after {LIMIT_S:.0f} s\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
