"""The server's side: a child reads the file, and ends with whoever asked.

A child, because parsing would hold up all calls of this process, because a file may be made to kill who reads it, and
because what it grows to is given back when it ends. It is given no environment but where Python is: no secret is near
what strangers wrote. What it writes waits in the pipe, so it reads no faster than its rows are taken.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from signal import SIGKILL, SIGXCPU
from typing import TypeVar

from voice_agent.contacts.reading.frames import HEADER, Answer, Inspect, PreviewIt, Read, Request, pack_request, unpack
from voice_agent.contacts.reading.model import (
    MAX_FILE_BYTES,
    Chunk,
    FileFormat,
    FileProblem,
    FileRefused,
    Inspection,
    Order,
    Preview,
    ReadOptions,
)

Wanted = TypeVar("Wanted", Inspection, Preview)

MODULE = "voice_agent.contacts.reading"
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")

LARGEST_FRAME = 256 * 1024 * 1024
"""Bytes: of a chunk of the longest rows."""


async def inspect_file(
    path: Path, overrides: FileFormat, options: ReadOptions, *, max_bytes: int = MAX_FILE_BYTES
) -> Inspection:
    """Return what a file is, and what its columns are taken for. Raises FileRefused."""
    request = Inspect(path=str(path), overrides=overrides, options=options, max_bytes=max_bytes)
    return await _only(request, Inspection)


async def preview_file(path: Path, order: Order, *, max_bytes: int = MAX_FILE_BYTES) -> Preview:
    """Return what an import would do with a file. Raises FileRefused."""
    return await _only(PreviewIt(path=str(path), order=order, max_bytes=max_bytes), Preview)


async def read_chunks(path: Path, order: Order, *, max_bytes: int = MAX_FILE_BYTES) -> AsyncGenerator[Chunk, None]:
    """Yield the rows of a file from `order.start_row` on, the last chunk empty and `is_last`.

    Rows and chunks are the same each time. Wrap it in `contextlib.aclosing` where it may be left early: the child is
    killed when it is closed. Raises FileRefused, which may come behind good rows.
    """
    async with aclosing(_answers(Read(path=str(path), order=order, max_bytes=max_bytes))) as answers:
        async for answer in answers:
            if not isinstance(answer, Chunk):
                raise _failed("an answer that is none of rows")
            yield answer
            if answer.is_last:
                return
    raise _failed("it ended before the last row")


async def _only(request: Request, wanted: type[Wanted]) -> Wanted:
    async with aclosing(_answers(request)) as answers:
        async for answer in answers:
            if isinstance(answer, wanted):
                return answer
    raise _failed("it ended without an answer")


async def _answers(request: Request) -> AsyncGenerator[Answer, None]:
    # A session of its own: an interrupt from the keyboard is the server's, which ends the child in its turn.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    )
    try:
        answers, output = _pipes(process)
        answers.write(pack_request(request))
        while header := await _exactly(output, HEADER.size):
            kind, length = HEADER.unpack(header)
            if length > LARGEST_FRAME:
                raise _failed("a frame of no sensible size")
            payload = await _exactly(output, length)
            if not payload:
                break
            yield unpack(kind, payload)
        code = await process.wait()
        if code == -SIGXCPU:
            raise FileRefused(FileProblem.LIMITS, "reading this file takes longer than a file may")
        if code == -SIGKILL:
            raise FileRefused(FileProblem.LIMITS, "the system ended the reading of this file, for want of memory")
        if code != 0:
            raise _failed(f"it ended with {code}")
    finally:
        await _end(process)


def _pipes(process: Process) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
    if process.stdin is None or process.stdout is None:
        raise _failed("it has no pipes")
    return process.stdin, process.stdout


async def _exactly(output: asyncio.StreamReader, size: int) -> bytes:
    """Return so many bytes, none where the child has ended before them."""
    try:
        return await output.readexactly(size)
    except asyncio.IncompleteReadError:
        return b""


async def _end(process: Process) -> None:
    """Kill the child, whatever it does, and take its end."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await asyncio.shield(process.wait())


def _failed(why: str) -> FileRefused:
    return FileRefused(FileProblem.FAILED, f"the file could not be read: {why}")
