"""What the child does: it takes one request, reads the file, writes frames, and ends.

It may be killed at any moment and holds nothing that is needed afterwards. Limits of the process are the last line
behind all counting: memory and CPU time. When its standard input closes, whoever started it is gone, and it ends at
once.
"""

import gc
import os
import resource
import sys
import threading
from collections.abc import Iterator
from itertools import dropwhile, islice
from pathlib import Path
from typing import BinaryIO

from voice_agent.contacts.fields import Style
from voice_agent.contacts.reading.cleaning import Cleaner
from voice_agent.contacts.reading.columns import check_mapping, fit, guess
from voice_agent.contacts.reading.frames import (
    HEADER,
    Answer,
    Inspect,
    PreviewIt,
    Read,
    Refusal,
    Request,
    pack,
    unpack_request,
)
from voice_agent.contacts.reading.model import (
    CHUNK_ROWS,
    Chunk,
    FileProblem,
    FileRefused,
    Inspection,
    Order,
    RowRefusal,
    TakenRow,
)
from voice_agent.contacts.reading.opening import Table, open_table
from voice_agent.contacts.reading.previewing import preview_of

MEMORY_BYTES = 768 * 1024 * 1024
"""Of address space, of which the interpreter takes 250 MB without using them."""

CPU_S = 7_200
"""For all rows of a file of 500 MB, on a slow core."""

LOOK_CPU_S = 60
"""To inspect or preview one."""

GC_THRESHOLDS = (100_000, 50, 100)
"""Python's own are (700, 10, 10): several looks in each chunk."""

ESTIMATE_ROWS = 5_000
"""By which all rows of a file are estimated: 10 ms."""

CHUNK_CHARACTERS = 2_000_000
"""Of all cells in one chunk, so that long rows do not add up."""


def answers(request: Request) -> Iterator[Answer]:
    """Yield what answers a request. Raises FileRefused."""
    match request:
        case Inspect():
            yield inspect(request)
        case PreviewIt():
            with open_table(
                Path(request.path), request.order.format, request.order.options.default_country, request.max_bytes
            ) as table:
                yield preview_of(table.rows, _cleaner(table, request.order))
        case Read():
            yield from read(request)


def inspect(request: Inspect) -> Inspection:
    """Return what a file is. Raises FileRefused."""
    options = request.options
    with open_table(Path(request.path), request.overrides, options.default_country, request.max_bytes) as table:
        rows = [row.cells for row in table.peeked if row.problem is None]
        columns = tuple(guess(table.headers, rows, options, _style(table)))
        return Inspection(
            format=table.format,
            columns=columns,
            size_bytes=Path(request.path).stat().st_size,
            rows_estimate=_estimate(table),
            sheets=table.sheets,
        )


def _estimate(table: Table) -> int:
    """Return about how many rows a file has, by what the first ones take; exactly where they are all."""
    count = 0
    for row in islice(table.rows, ESTIMATE_ROWS):
        count = row.number
    if next(table.rows, None) is None:
        return count
    return max(count, round(count * table.size / max(table.position(), 1)))


def read(request: Read) -> Iterator[Chunk]:
    """Yield the rows of a file from `start_row` on. Raises FileRefused, also behind rows that were good."""
    order = request.order
    with open_table(Path(request.path), order.format, order.options.default_country, request.max_bytes) as table:
        cleaner = _cleaner(table, order)
        last = order.start_row
        rows = dropwhile(lambda row: row.number <= order.start_row, table.rows)
        while True:
            began = last
            taken: list[TakenRow] = []
            refused: list[RowRefusal] = []
            seen = characters = 0
            for row in islice(rows, CHUNK_ROWS):
                seen += 1
                last = row.number
                outcome = cleaner.clean(row)
                if isinstance(outcome, TakenRow):
                    taken.append(outcome)
                elif outcome is not None:
                    refused.append(outcome)
                characters += sum(map(len, row.cells))
                if characters > CHUNK_CHARACTERS:
                    break
            yield Chunk(
                taken=tuple(taken),
                refused=tuple(refused),
                last_row=last,
                blank=last - began - len(taken) - len(refused),
                bytes_read=table.position() if seen else table.size,
                size_bytes=table.size,
                is_last=not seen,
            )
            if not seen:
                return


def _cleaner(table: Table, order: Order) -> Cleaner:
    check_mapping(order.mapping, order.options.custom_fields)
    return Cleaner(fit(order.mapping, table.headers), order.options, _style(table))


def _style(table: Table) -> Style:
    found = table.format
    return Style(decimal=found.decimal or ".", is_day_first=found.is_day_first is not False)


def serve(request: Request, target: int) -> None:
    """Write what answers a request to a descriptor."""
    try:
        for answer in answers(request):
            _write(target, pack(answer))
    except FileRefused as refusal:
        _write(target, pack(Refusal(refusal.problem, str(refusal))))
    except MemoryError:
        _write(target, pack(Refusal(FileProblem.LIMITS, "reading this file takes more memory than a file may")))


def confine(cpu_s: int) -> None:
    """Give this process the limits of a child, and let Python look for rings of objects seldom."""
    # What is here stays, and rows refer to nothing that refers to them.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _end_with(source: BinaryIO) -> None:
    while source.read(1):
        pass
    os._exit(1)


def _write(target: int, frame: bytes) -> None:
    waiting = memoryview(frame)
    while waiting:
        waiting = waiting[os.write(target, waiting) :]


def main() -> None:
    """Take one request from standard input, and answer it on standard output."""
    # What anything prints must not come between frames.
    target = os.dup(1)
    os.dup2(2, 1)
    source = sys.stdin.buffer
    _, length = HEADER.unpack(source.read(HEADER.size))
    request = unpack_request(source.read(length))
    confine(CPU_S if isinstance(request, Read) else LOOK_CPU_S)
    threading.Thread(target=_end_with, args=(source,), daemon=True).start()
    serve(request, target)
    # Without the interpreter's farewell: the thread that waits for the end of the input would be in its way.
    os._exit(0)
