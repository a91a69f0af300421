"""How fast a file of contacts is imported, what that takes, and whether a process that is killed loses or doubles rows.

A CSV file of people is imported into SQLite and into a Postgres of its own by a process that does nothing else, twice:
once in peace, once killed five times at random moments and started again. The floor is a bare loop over the same file
into the same table: csv.reader, phonenumbers, zones, executemany, in one process; no names are split, nothing is
searchable, nobody is looked for, and nothing survives. The file has what files have: numbers in several forms, some
that are none, some that came before.
"""

import argparse
import asyncio
import csv
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import phonenumbers
import psutil
from phonenumbers.timezone import time_zones_for_number
from sqlalchemy import URL, func, make_url, select

from bench.figures import Figure, figure, parser, write_figures
from tests.servers.postgres import PostgresServer
from voice_agent.auth.principal import system
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts.fetching import FetchRules
from voice_agent.contacts.import_model import Counts, ImportSource
from voice_agent.contacts.importer import ImportToRun, NewImport
from voice_agent.contacts.imports import ImportPorts, Imports
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.files import LinkOffice, LocalStorage
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import (
    ContactListRow,
    ContactRow,
    ImportRow,
    ImportRowErrorRow,
    ListMemberRow,
    OrganisationRow,
)

KILLS = 5
MINUTES, PEAK_MB, RATIO = 10.0, 300.0, 1.5
"""Of a million rows (campaigns.md section 6), and of the bare loop."""

FLOOR_BATCH = 5_000
HEADERS = ("Teléfono", "Nombre", "Correo", "Ciudad", "Plan", "Edad")
CITIES = ("Madrid", "Sevilla", "Lugo", "Bilbao", "Murcia")


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a file has."""

    path: Path
    rows: int
    numbers: int
    """Different ones."""

    bad: int


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What an import left."""

    seconds: float
    peak_mb: float
    child_mb: float
    kills: int
    counts: Counts
    cursor: int
    contacts: int
    numbers: int
    members: int
    refused: int


def write_file(path: Path, rows: int, seed: int) -> Written:
    """Write people: of a hundred rows one is bad and one came before."""
    luck = random.Random(seed)
    numbers: list[str] = []
    bad = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADERS)
        for place in range(rows):
            kind = luck.randrange(100)
            number = f"+346{place:08d}"
            if kind == 0:
                written, bad = str(place % 1_000), bad + 1
            elif kind == 1 and numbers:
                written = luck.choice(numbers[-1_000:])
            else:
                numbers.append(number)
                written = number if kind < 60 else f"{number[3:6]} {number[6:8]} {number[8:10]} {number[10:]}"
            name = f"Persona {place}"
            writer.writerow([written, name, f"p{place}@example.test", CITIES[place % 5], "oro", 18 + place % 60])
    return Written(path=path, rows=rows, numbers=len(numbers), bad=bad)


def parts(database: Database, folder: Path) -> Imports:
    """Return what imports, with everything that an installation has."""
    ports = ImportPorts(
        database=database,
        storage=LocalStorage(folder / "files", LinkOffice(b"k" * 32, "http://files.test")),
        jobs=JobOutbox(),
        ledger=ComplianceService(built_in(), clock=_now),
        zones_of_region=built_in().zones_of_region,
    )
    return Imports(ports, data_dir=folder / "data", rules=FetchRules(), clock=_now)


def _now() -> datetime:
    return datetime.now(UTC)


async def started(database: Database, folder: Path, file: Path) -> ImportToRun:
    """Have a file here, its columns guessed, and its import running."""
    imports = parts(database, folder)
    org_id, list_id = new_id(), new_id()
    async with database.write() as session:
        session.add(OrganisationRow(id=org_id, name="Bench", settings={}, created_at=_now()))
        await session.flush()
        fair = ContactListRow(
            id=list_id, org_id=org_id, name="Fair", kind="static", created_at=_now(), updated_at=_now()
        )
        session.add(fair)
    options = {"country": "ES", "list_id": str(list_id)}
    async with database.write() as session:
        new = NewImport(source=ImportSource.UPLOAD, name="people.csv", options=options)
        row = await imports.importer.create(session, system(org_id, "bench"), new)
    await imports.importer.receive(org_id, row.id, _pieces(file))
    async with database.write() as session:
        await imports.importer.start(session, system(org_id, "bench"), row.id)
    return ImportToRun(org_id=org_id, import_id=row.id)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1_048_576):
            yield piece


# --- processes --------------------------------------------------------------------------------------------------
async def run_here(url: URL, folder: Path, order: ImportToRun) -> None:
    """Do an import in this process: what the benchmark starts, and kills."""
    database = Database(url)
    try:
        await parts(database, folder).run.work(order)
    finally:
        await database.close()


def _spawn(url: URL, folder: Path, order: ImportToRun) -> psutil.Popen:
    arguments = ["--url", url.render_as_string(hide_password=False), "--folder", str(folder)]
    arguments += ["--order", msgspec.json.encode(order).decode()]
    return psutil.Popen([sys.executable, "-m", "bench.contacts_import", *arguments])


async def imported(url: URL, folder: Path, file: Written, *, kills: int, luck: random.Random, around_s: float) -> Made:
    """Import a file by processes of their own, killing `kills` of them, each within `around_s` seconds."""
    database = Database(url)
    try:
        order = await started(database, folder, file.path)
        began, peak, child, killed = time.monotonic(), 0, 0, 0
        while True:
            process = _spawn(url, folder, order)
            deadline = time.monotonic() + 1.5 + luck.random() * around_s if killed < kills else None
            while process.poll() is None:
                peak, child = max(peak, _peak(process.pid)), max(child, *_children(process), 0)
                if deadline is not None and time.monotonic() > deadline:
                    process.kill()
                await asyncio.sleep(0.05)
            code = process.wait()
            if code == 0:
                break
            if code != -signal.SIGKILL:
                raise SystemExit(f"the import ended with {code}")
            killed += 1
        seconds = time.monotonic() - began
        return await _made(database, order, seconds=seconds, peak=peak, child=child, kills=killed)
    finally:
        await database.close()


def _peak(pid: int) -> int:
    """Return the most memory that a process has had, in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _children(process: psutil.Popen) -> list[int]:
    try:
        return [_peak(each.pid) for each in process.children()]
    except psutil.NoSuchProcess:
        return []


async def _made(database: Database, order: ImportToRun, *, seconds: float, peak: int, child: int, kills: int) -> Made:
    async with database.read() as session:
        row = await session.get_one(ImportRow, order.import_id)

        async def count(what: object, *conditions: object) -> int:
            return int((await session.execute(select(what).where(*conditions))).scalar_one())  # type: ignore[call-overload]

        return Made(
            seconds=seconds,
            peak_mb=peak / 1_000,
            child_mb=child / 1_000,
            kills=kills,
            counts=Counts(**row.counts),
            cursor=row.cursor,
            contacts=await count(func.count(ContactRow.id), ContactRow.org_id == order.org_id),
            numbers=await count(func.count(func.distinct(ContactRow.e164)), ContactRow.org_id == order.org_id),
            members=await count(func.count(ListMemberRow.contact_id), ListMemberRow.org_id == order.org_id),
            refused=await count(func.count(ImportRowErrorRow.row), ImportRowErrorRow.org_id == order.org_id),
        )


def wrong(made: Made, file: Written) -> int:
    """Return how many of an import's figures are not those of the file."""
    counts = made.counts
    pairs = [
        (made.cursor, file.rows),
        (made.contacts, file.numbers),
        (made.numbers, file.numbers),
        (made.members, file.numbers),
        (made.refused, file.bad),
        (counts.created, file.numbers),
        (counts.refused, file.bad),
        (counts.repeated, file.rows - file.bad - file.numbers),
        (counts.settled, file.rows),
        (counts.listed, file.numbers),
    ]
    return sum(one != other for one, other in pairs)


# --- the floor --------------------------------------------------------------------------------------------------
COLUMNS = (
    "id", "org_id", "e164", "raw_number", "country", "line_type", "region", "zone", "zone_origin", "zone_candidates",
    "name", "given_name", "family_name", "company", "email", "locale", "custom", "search_words", "source", "revision",
    "created_at", "updated_at",
)  # fmt: skip


def bare_rows(path: Path) -> Iterator[list[tuple[Any, ...]]]:
    """Yield what the bare loop inserts, some thousand rows at a time."""
    org_id, now, seen = new_id(), _now(), set()
    batch: list[tuple[Any, ...]] = []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for raw, name, email, city, plan, age in rows:
            try:
                number = phonenumbers.parse(raw, "ES")
            except phonenumbers.NumberParseException:
                continue
            if not phonenumbers.is_valid_number(number):
                continue
            e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            if e164 in seen:
                continue
            seen.add(e164)
            zones = msgspec.json.encode(time_zones_for_number(number)).decode()
            custom = msgspec.json.encode({"ciudad": city, "plan": plan, "edad": int(age)}).decode()
            country = phonenumbers.region_code_for_number(number) or ""
            batch.append(
                (
                    uuid4(), org_id, e164, raw, country, "mobile", "", "", "number", zones, name, "", "", "", email, "",
                    custom, f"{e164[1:]} {e164[3:]} {name.lower()} {email}", "import", 1, now, now,
                )
            )  # fmt: skip
            if len(batch) == FLOOR_BATCH:
                yield batch
                batch = []
    yield batch


async def bare(url: URL, path: Path) -> float:
    """Return the seconds of the bare loop, over tables without its foreign key."""
    began = time.monotonic()
    if url.get_backend_name() == "sqlite":
        _bare_sqlite(str(url.database), path)
    else:
        await _bare_postgres(url, path)
    return time.monotonic() - began


def _bare_sqlite(database: str, path: Path) -> None:
    connection = sqlite3.connect(database)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    insert = f"INSERT INTO contact ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
    for batch in bare_rows(path):
        plain = [(row[0].hex, row[1].hex, *row[2:-2], str(row[-2])[:26], str(row[-1])[:26]) for row in batch]
        connection.executemany(insert, plain)
        connection.commit()
    connection.close()


async def _bare_postgres(url: URL, path: Path) -> None:
    marks = ", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))
    insert = f"INSERT INTO contact ({', '.join(COLUMNS)}) VALUES ({marks})"  # noqa: S608
    async with _opened(url) as database, database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection  # asyncpg's own, without SQLAlchemy
        await driver.execute("ALTER TABLE contact DROP CONSTRAINT fk_contact_org_id_organisation")
        for batch in bare_rows(path):
            await driver.executemany(insert, batch)


# --- all of it --------------------------------------------------------------------------------------------------
async def measured(name: str, urls: Sequence[URL], folder: Path, file: Written, luck: random.Random) -> list[Figure]:
    """Measure one kind of database; `urls` are three empty ones."""
    floor_s = await bare(urls[0], file.path)
    made = await imported(urls[1], folder / f"{name}-1", file, kills=0, luck=luck, around_s=0)
    again = await imported(urls[2], folder / f"{name}-2", file, kills=KILLS, luck=luck, around_s=made.seconds / KILLS)
    whole = file.rows / 1_000_000
    return [
        figure(f"{name}: import of {file.rows:,} rows", made.seconds, "s", floor=floor_s, reach=MINUTES * 60 * whole),
        figure(f"{name}: rows", file.rows / made.seconds, "rows/s"),
        figure(f"{name}: ratio to the bare loop", made.seconds / floor_s, "", reach=RATIO),
        figure(f"{name}: peak of the process", made.peak_mb, "MB", reach=PEAK_MB),
        figure(f"{name}: peak of the child", made.child_mb, "MB", reach=PEAK_MB),
        figure(f"{name}: figures that are not the file's", wrong(made, file), "", reach=0),
        figure(f"{name}: killed", again.kills, "times"),
        figure(f"{name}: figures that are not the file's after that", wrong(again, file), "", reach=0),
    ]


async def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure both databases."""
    luck = random.Random(arguments.seed)
    print(f"seed {arguments.seed}, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = write_file(folder / "people.csv", arguments.rows, arguments.seed)
        figures: list[Figure] = []
        if "sqlite" in arguments.on:
            urls = [URL.create("sqlite+aiosqlite", database=str(folder / f"{place}.db")) for place in range(3)]
            for url in urls:
                async with _opened(url) as database:
                    await database.migrate()
            figures += await measured("sqlite", urls, folder, file, luck)
        if "postgres" in arguments.on:
            server = PostgresServer()
            try:
                server.start()
                figures += await measured("postgres", [server.fresh_database() for _ in range(3)], folder, file, luck)
            finally:
                server.remove()
    return figures


@asynccontextmanager
async def _opened(url: URL) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


def main() -> None:
    """Run the benchmark, or in a process that it has started, one import."""
    command_line = parser(__doc__ or "")
    command_line.add_argument("--rows", type=int, default=1_000_000)
    command_line.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    command_line.add_argument("--on", nargs="*", choices=["sqlite", "postgres"], default=["sqlite", "postgres"])
    for hidden in ("--url", "--folder", "--order"):
        command_line.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = command_line.parse_args()
    if arguments.order:
        order = msgspec.json.decode(arguments.order.encode(), type=ImportToRun)
        asyncio.run(run_here(make_url(arguments.url), Path(arguments.folder), order))
        return
    write_figures(arguments.json, asyncio.run(measure(arguments)))


if __name__ == "__main__":
    main()
