"""The child: it answers, waits, ends with whoever asked, and takes no more than it may."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from tests.contacts.reading.corpus import NASTY, huge, xlsx
from tests.contacts.reading.world import SPAIN, mapping, written
from voice_agent.contacts.reading import process
from voice_agent.contacts.reading.frames import Inspect, pack_request
from voice_agent.contacts.reading.model import FileFormat, FileKind, FileProblem, FileRefused, Order
from voice_agent.contacts.reading.process import inspect_file, preview_file, read_chunks

ORDER = Order(mapping=mapping(tel="phone", nombre="name"), options=SPAIN)

MOST_MEGABYTES = 50
"""Of the child when it refuses a file (the issue); it takes 20 of them to be there."""

MEASURED = """
import re, sys
from pathlib import Path
from voice_agent.contacts.reading import frames, worker
worker.confine(worker.LOOK_CPU_S)
source = sys.stdin.buffer
_, length = frames.HEADER.unpack(source.read(frames.HEADER.size))
worker.serve(frames.unpack_request(source.read(length)), 1)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""
"""The peak of this program alone: what rusage tells has the memory of the process that forked it."""


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if process.MODULE in " ".join(child.cmdline())]


def table(rows: int) -> str:
    return "tel,nombre\n" + "".join(f"{612000000 + number},Persona {number}\n" for number in range(rows))


async def test_a_file_is_inspected_previewed_and_read(tmp_path: Path) -> None:
    path = written(tmp_path, table(1_200))

    inspection = await inspect_file(path, FileFormat(), SPAIN)
    preview = await preview_file(path, ORDER)
    chunks = [chunk async for chunk in read_chunks(path, ORDER)]

    assert (inspection.format.kind, inspection.rows_estimate) == (FileKind.CSV, 1_200)
    assert [column.target for column in inspection.columns] == ["phone", "name"]
    assert (preview.taken, preview.codes) == (1_200, {"country": 1_200})
    assert sum(len(chunk.taken) for chunk in chunks) == 1_200
    assert chunks[-1].is_last
    assert not children()


async def test_a_workbook_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, xlsx([["tel", "nombre"], *([612000000 + n, f"Persona {n}"] for n in range(700))]))

    rows = [row async for chunk in read_chunks(path, ORDER) for row in chunk.taken]

    assert [row.row for row in rows] == list(range(1, 701))
    assert rows[3].draft.number.e164 == "+34612000003"


async def test_a_refusal_comes_back(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="PDF") as refusal:
        await inspect_file(written(tmp_path, b"%PDF-1.7"), FileFormat(), SPAIN)

    assert refusal.value.problem is FileProblem.NOT_CONTACTS
    assert not children()


async def test_files_are_no_larger_than_said(tmp_path: Path) -> None:
    with pytest.raises(FileRefused) as refusal:
        await inspect_file(written(tmp_path, table(10)), FileFormat(), SPAIN, max_bytes=20)

    assert refusal.value.problem is FileProblem.TOO_LARGE


async def test_a_reader_that_is_left_early_ends_its_child(tmp_path: Path) -> None:
    path = written(tmp_path, table(20_000))

    async with aclosing(read_chunks(path, ORDER)) as chunks:
        async for chunk in chunks:
            assert chunk.last_row == 500
            (child,) = children()
            break

    assert not child.is_running()


async def test_the_child_waits_until_its_rows_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, table(20_000))

    async with aclosing(read_chunks(path, ORDER)) as chunks:
        await anext(chunks)
        (child,) = children()
        used = -1.0
        while (now := sum(child.cpu_times()[:2])) != used:
            used = now
            await asyncio.sleep(0.2)
        assert child.is_running()
        assert sum([len(chunk.taken) async for chunk in chunks]) == 19_500


async def test_a_cancelled_task_ends_its_child(tmp_path: Path) -> None:
    path = written(tmp_path, table(20_000))
    has_begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(read_chunks(path, ORDER)) as chunks:
            async for _ in chunks:
                has_begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await has_begun.wait()
    (child,) = children()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not child.is_running()


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (signal.SIGKILL, FileProblem.LIMITS),
        (signal.SIGXCPU, FileProblem.LIMITS),
        (signal.SIGTERM, FileProblem.FAILED),
    ],
)
async def test_a_child_that_dies_is_told(tmp_path: Path, number: signal.Signals, problem: FileProblem) -> None:
    path = written(tmp_path, table(20_000))

    async with aclosing(read_chunks(path, ORDER)) as chunks:
        await anext(chunks)
        (child,) = children()
        child.send_signal(number)
        with pytest.raises(FileRefused) as refusal:
            async for _ in chunks:
                pass

    assert refusal.value.problem is problem
    assert not children()


def test_the_child_ends_when_whoever_asked_is_gone(tmp_path: Path) -> None:
    """The request is all that comes, and standard input closes: the server was killed."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-m", process.MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        # It waits for somebody to write to the file: it can only end by the closed pipe.
        child.stdin.write(pack_request(Inspect(path=str(fifo))))
        child.stdin.close()
        assert child.wait(timeout=30) == 1


async def test_the_child_is_given_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    path = written(tmp_path, table(20_000))

    async with aclosing(read_chunks(path, ORDER)) as chunks:
        await anext(chunks)
        (child,) = children()
        assert not set(child.environ()) - {*process._PASSED_ON, "LC_CTYPE"}


def measured(path: Path) -> float:
    """Inspect a file in a program of its own, and return its peak in megabytes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], input=pack_request(Inspect(path=str(path))), capture_output=True, check=True
    )
    match = re.fullmatch(rb"(\d+)\s*", done.stderr)
    assert match, done.stderr
    assert done.stdout[0] == 1, "it is not refused"
    return int(match[1]) / 1024


@pytest.mark.parametrize(
    "name",
    [
        "a bomb of one entry",
        "a bomb of shared texts",
        "a bomb with lying sizes",
        "ten thousand entries",
        "entities that unfold",
        "a million columns",
        "XML as deep as a well",
        "a tag without an end",
        "a million named columns",
        "a line without an end",
        "JSON without an end",
    ],
)
def test_bombs_are_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    make, _ = NASTY[name]

    assert measured(written(tmp_path, make())) < MOST_MEGABYTES


def test_two_gigabytes_are_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    huge(path)

    assert measured(path) < MOST_MEGABYTES
