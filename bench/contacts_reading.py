"""What reading a file of contacts costs: CPU and memory of the child, beside the least that any importer would do.

The bare loop is Python's `csv` and the calls of `phonenumbers` that tell whether a number exists, its kind, country and
time zones, for the one number of each row. The child does that, and everything else: it finds out what the file is,
repairs numbers, cleans five other columns, and writes drafts to the pipe. CPU seconds are compared, not time: other
work on the machine does not count. Of a workbook a tenth as many rows are read.
"""

import asyncio
import csv
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import phonenumbers
from openpyxl import Workbook
from phonenumbers.timezone import time_zones_for_number

from bench.figures import Figure, figure, parser, write_figures
from voice_agent.contacts.fields import CustomField
from voice_agent.contacts.reading.frames import HEADER, Read, pack_request
from voice_agent.contacts.reading.model import FileFormat, Order, ReadOptions
from voice_agent.contacts.reading.process import inspect_file

HEADERS = ("nombre completo", "teléfono", "correo", "ciudad", "saldo", "plan")
MOST_RATIO = 1.3
MOST_MEGABYTES = 100
"""A third of what the issue allows to the whole import."""

MEASURED = """
import re, sys, time
from pathlib import Path
from voice_agent.contacts.reading import frames, worker
source = sys.stdin.buffer
worker.confine(worker.CPU_S)
_, length = frames.HEADER.unpack(source.read(frames.HEADER.size))
before = time.process_time()
worker.serve(frames.unpack_request(source.read(length)), 1)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(time.process_time() - before, peak, file=sys.stderr)
"""


def rows(count: int) -> list[list[str]]:
    """Return rows of Spanish contacts, of whose numbers a third have no plus and a third no country."""
    chance = random.Random(1)
    made = []
    for number in range(count):
        phone = f"{chance.choice(('+34', '34', ''))}{chance.randrange(610_000_000, 699_999_999)}"
        saldo = f"{chance.random() * 100:.2f}"
        made.append([f"Ana García {number}", phone, f"ana{number}@example.com", "Madrid", saldo, chance.choice("AB")])
    return made


def bare(path: Path) -> float:
    """Return the CPU seconds of the bare loop."""
    before = time.process_time()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        next(reader)
        for row in reader:
            raw = row[1]
            digits = raw if raw.startswith("+") else f"+{raw}" if raw.startswith("34") else raw
            number = phonenumbers.parse(digits, "ES")
            phonenumbers.is_valid_number(number)
            phonenumbers.number_type(number)
            phonenumbers.region_code_for_number(number)
            phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            time_zones_for_number(number)
    return time.process_time() - before


def child(path: Path) -> tuple[float, float, int]:
    """Return the CPU seconds and the peak in megabytes of a child, and the bytes that it wrote."""
    options = ReadOptions(default_country="ES")
    inspection = asyncio.run(inspect_file(path, FileFormat(), options))
    fields = tuple(
        CustomField(key=column.target.removeprefix("custom:"), label=column.header, type=column.new_field)
        for column in inspection.columns
        if column.new_field is not None
    )
    order = Order(
        mapping=inspection.mapping,
        format=inspection.format,
        options=ReadOptions(default_country="ES", custom_fields=fields),
    )
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED],
            input=pack_request(Read(path=str(path), order=order)),
            stdout=output,
            stderr=subprocess.PIPE,
            check=True,
        )
        written = output.tell() or os.fstat(output.fileno()).st_size
    match = re.fullmatch(rb"([\d.]+) (\d+)\s*", done.stderr)
    assert match, done.stderr
    assert written > HEADER.size
    return float(match[1]), int(match[2]) / 1024, written


def measure(count: int, folder: Path) -> list[Figure]:
    """Return all figures."""
    table = folder / "contacts.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADERS)
        writer.writerows(rows(count))
    floor = bare(table)
    cpu_s, peak, written = child(table)
    few = count // 10
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet()
    sheet.append(HEADERS)
    for row in rows(few):
        sheet.append(row)
    workbook.save(folder / "contacts.xlsx")
    xlsx_cpu_s, xlsx_peak, _ = child(folder / "contacts.xlsx")
    return [
        figure(f"CSV, {count} rows: CPU of the child", cpu_s, "s", floor=floor, reach=floor * MOST_RATIO),
        figure("CSV: rows of a second of CPU", count / cpu_s, "rows/s"),
        figure("CSV: peak of the child", peak, "MB", reach=MOST_MEGABYTES),
        figure("CSV: what a row takes on the pipe", written / count, "bytes"),
        figure(f"XLSX, {few} rows: CPU of the child", xlsx_cpu_s, "s"),
        figure("XLSX: rows of a second of CPU", few / xlsx_cpu_s, "rows/s"),
        figure("XLSX: peak of the child", xlsx_peak, "MB", reach=MOST_MEGABYTES),
    ]


def main() -> None:
    """Measure, and write the figures."""
    command_line = parser(__doc__)
    command_line.add_argument("--rows", type=int, default=100_000, help="of the CSV (default: 100,000)")
    arguments = command_line.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_figures(arguments.json, measure(arguments.rows, Path(folder)))


if __name__ == "__main__":
    main()
