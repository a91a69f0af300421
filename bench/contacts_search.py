"""How long a search over a million contacts takes on Postgres, by kind of query, first page and later ones.

The contacts are made up and copied into a real Postgres of its own: names as often as names are, cities and tags that a
third, one in fifty and one in ten thousand have, numbers that are all different. Each kind of query is asked many
times, most with another value each time. The floor is what any page costs: fifty rows fetched by their keys. Postgres
has 1 GB of buffers, in which the contacts and their indexes (0.9 GB) are while they are searched.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import uvloop
from sqlalchemy import select

from bench.figures import Figure, figure, parser, write_figures
from tests.servers.postgres import PostgresServer
from voice_agent.contacts import search
from voice_agent.contacts.columns import columns_of
from voice_agent.contacts.filters import All, CustomIs, CustomNumber, Filter, Tagged
from voice_agent.contacts.model import ContactDraft
from voice_agent.contacts.search import Search
from voice_agent.phone_numbers import LineType, PhoneNumber
from voice_agent.pipeline.latency import percentile
from voice_agent.rest.pages import Place
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactRow, OrganisationRow, TagRow

CONTACTS = 1_000_000
ASKED = 40
PAGE = 50
REACH_MS = 50.0
"""p95 of every kind (issue 4)."""

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
LETTERS = "abcdefghijklmnoprstuvz"
INDEXES = ("ix_contact_search_words", "ix_contact_custom")
SHARES = {"third": 3, "fiftieth": 50, "thousandth": 1_000, "rare": 10_000}
"""Tags and cities: one in so many contacts has it."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to look for."""

    org_id: UUID
    tags: dict[str, UUID]
    given: Sequence[str]
    family: Sequence[str]
    contacts: int


def invented(count: int, rng: random.Random) -> list[str]:
    """Return names that nobody has, no two alike."""
    names: set[str] = set()
    while len(names) < count:
        names.add("".join(rng.choice(LETTERS) for _ in range(rng.randint(4, 8))).capitalize())
    return sorted(names)


def share(position: int) -> str:
    """Return what a contact at a place among the others has, the rarest first."""
    return next((name for name, one_in in reversed(SHARES.items()) if position % one_in == 1), "")


def rows(made: Made, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield contacts: family names as often as in Spain, the tenth most frequent a tenth as often as the first."""
    given = rng.choices(made.given, [1 / (rank + 2) for rank in range(len(made.given))], k=made.contacts)
    family = rng.choices(made.family, [1 / (rank + 5) for rank in range(len(made.family))], k=2 * made.contacts)
    positions = rng.sample(range(made.contacts), made.contacts)
    for number in range(made.contacts):
        e164 = f"+346{number * 7_919 % 100_000_000:08d}"
        draft = ContactDraft(
            number=PhoneNumber(e164=e164, country="ES", line_type=LineType.MOBILE, zones=("Europe/Madrid",)),
            raw_number=e164,
            given_name=given[number],
            family_name=f"{family[2 * number]} {family[2 * number + 1]}",
            email=f"{given[number]}.{number}@mail.example".lower(),
            external_id=f"K-{number}",
            custom={"city": share(positions[number]) or f"town {positions[number] % 500}", "level": number % 100},
        )
        at = BEGINNING + timedelta(seconds=number)
        yield columns_of(draft, made.org_id, at, zones_of_region=lambda _: ())


def fill(conninfo: str, made: Made, rng: random.Random) -> None:
    """Copy the contacts and their tags; indexes of words and fields are made afterwards, which is faster."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        found = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE indexname = ANY(%s)", (list(INDEXES),)
        )
        definitions: dict[str, str] = dict(found.fetchall())
        for name in definitions:
            connection.execute(f"DROP INDEX {name}".encode())
        names = list(ContactRow.__table__.c.keys())
        tagged: list[tuple[UUID, UUID]] = []
        positions = rng.sample(range(made.contacts), made.contacts)
        with connection.cursor().copy(f"COPY contact ({', '.join(names)}) FROM STDIN".encode()) as copy:
            for number, row in enumerate(rows(made, rng)):
                copy.write_row([_text(row[name]) for name in names])
                if tag := share(positions[number]):
                    tagged.append((made.tags[tag], row["id"]))
        with connection.cursor().copy(b"COPY contact_tag (tag_id, contact_id, org_id) FROM STDIN") as copy:
            for tag_id, contact_id in tagged:
                copy.write_row((tag_id, contact_id, made.org_id))
        connection.execute("SET maintenance_work_mem = '256MB'")
        for definition in definitions.values():
            connection.execute(definition.encode())
        connection.execute("VACUUM ANALYZE")


def _text(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


async def an_organisation(database: Database, contacts: int, rng: random.Random) -> Made:
    """Store an organisation and its tags."""
    org_id, tags = new_id(), {name: new_id() for name in SHARES}
    async with database.write() as session:
        session.add(OrganisationRow(id=org_id, name="Harbour", created_at=BEGINNING))
        await session.flush()
        for name, tag_id in tags.items():
            session.add(TagRow(id=tag_id, org_id=org_id, name=name, key=name, created_at=BEGINNING))
    given, family = invented(300, rng), invented(3_000, rng)
    rng.shuffle(given)
    rng.shuffle(family)
    return Made(org_id=org_id, tags=tags, given=given, family=family, contacts=contacts)


def kinds(made: Made) -> dict[str, Callable[[random.Random], Search]]:
    """Return what is asked, by kind; each time another value where there are several."""

    def query(pick: Callable[[random.Random], str]) -> Callable[[random.Random], Search]:
        return lambda rng: Search(query=pick(rng))

    def chosen(*parts: Filter, text: str = "") -> Callable[[random.Random], Search]:
        whole = parts[0] if len(parts) == 1 else All(of=parts)
        return lambda _: Search(query=text, chosen=whole)

    tag = {name: Tagged(values=(tag_id,)) for name, tag_id in made.tags.items()}
    city = {name: CustomIs(key="city", values=(name,)) for name in SHARES}
    town = [CustomIs(key="city", values=(f"town {number}",)) for number in range(500)]
    first, middle = made.given[0], made.given[40]
    asked: dict[str, Callable[[random.Random], Search]] = {
        "everything": lambda _: Search(),
        "name: a frequent one": query(lambda rng: rng.choice(made.given[:5])),
        "name: one in a hundred": query(lambda rng: rng.choice(made.given[15:30])),
        "name: a rare one": query(lambda rng: rng.choice(made.family[1_500:])),
        "name: three letters": query(lambda rng: rng.choice(made.family[:2_000])[:3]),
        "name: two words": query(lambda rng: f"{rng.choice(made.given[:40])} {rng.choice(made.family[:40])}"),
        "name: nobody's": query(lambda rng: "xqx" + rng.choice(LETTERS)),
        "e-mail address": query(lambda rng: f"{rng.randrange(made.contacts)}@mail.example"),
        "external id": query(lambda rng: f"K-{rng.randrange(made.contacts)}"),
        "number: whole": query(lambda rng: f"+34 6{rng.randrange(made.contacts) * 7_919 % 100_000_000:08d}"),
        "number: last four digits": query(lambda rng: f"{rng.randrange(10_000):04d}"),
        "number: first digits": query(lambda rng: f"+34 6{rng.randrange(100):02d}"),
        "number and tag": lambda rng: Search(query=f"{rng.randrange(10_000):04d}", chosen=tag["fiftieth"]),
        "custom field: one in 1,500": lambda rng: Search(chosen=rng.choice(town)),
        "custom field: a number within bounds": chosen(CustomNumber(key="level", at_least=97)),
        "name and tag, both frequent": chosen(tag["third"], text=first),
        "name and tag, one in fifty each": chosen(tag["fiftieth"], text=middle),
        "name and custom field": chosen(city["fiftieth"], text=first),
        "tag and custom field, frequent": chosen(tag["third"], city["third"]),
        "tag and custom field, one in fifty": chosen(tag["fiftieth"], city["fiftieth"]),
        "name, tag and custom field": chosen(tag["third"], city["third"], text=first),
        "two tags": chosen(tag["third"], tag["fiftieth"]),
    }
    for name in SHARES:
        asked[f"tag: {name}"] = chosen(tag[name])
        asked[f"custom field: {name}"] = chosen(city[name])
    return asked


async def timed(ask: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds that something takes."""
    began = time.perf_counter()
    await ask()
    return (time.perf_counter() - began) * 1_000


async def searched(
    database: Database, made: Made, pick: Callable[[random.Random], Search], rng: random.Random, *, later: bool
) -> list[float]:
    """Return the milliseconds of each search: of first pages, or of pages somewhere among the rest."""
    now, taken = datetime.now(UTC), []
    for turn in range(ASKED + 2):
        wanted = pick(rng)
        before: Place | None = None
        if later:
            before = BEGINNING + timedelta(seconds=rng.randrange(made.contacts)), UUID(int=0)

        async def ask(wanted: Search = wanted, before: Place | None = before) -> None:
            async with database.read() as session:
                await search.page(session, made.org_id, wanted, before=before, limit=PAGE + 1, now=now)

        took = await timed(ask)
        if turn >= 2:  # the first ones prepare the statement
            taken.append(took)
    return taken


async def floor(database: Database, made: Made, rng: random.Random) -> list[float]:
    """Return the milliseconds of fetching a page of rows by their keys."""
    async with database.read() as session:
        keys = (
            await session.scalars(select(ContactRow.id).where(ContactRow.org_id == made.org_id).limit(50_000))
        ).all()

    async def fetch() -> None:
        async with database.read() as session:
            query = select(ContactRow).where(ContactRow.id.in_(rng.sample(keys, PAGE)))
            (await session.scalars(query)).all()

    return [await timed(fetch) for _ in range(ASKED)]


async def run(options: argparse.Namespace, postgres: PostgresServer) -> list[Figure]:
    """Make the contacts and ask."""
    rng = random.Random(options.seed)
    url = await asyncio.to_thread(postgres.fresh_database)
    database = Database(url)
    try:
        made = await an_organisation(database, options.contacts, rng)
        began = time.perf_counter()
        conninfo = f"host=127.0.0.1 port={postgres.port} user=postgres dbname={url.database}"
        await asyncio.to_thread(fill, conninfo, made, rng)
        figures = [figure(f"{options.contacts:,} contacts made", time.perf_counter() - began, "s")]
        least = percentile(await floor(database, made, rng), 95)
        for name, pick in kinds(made).items():
            for later in (False, True):
                taken = await searched(database, made, pick, rng, later=later)
                page = "a later page" if later else "first page"
                figures.append(figure(f"{name}, {page}, p50", percentile(taken, 50), "ms"))
                slow = percentile(taken, 95)
                figures.append(figure(f"{name}, {page}, p95", slow, "ms", floor=least, reach=REACH_MS))
        return figures
    finally:
        await database.close()


def main() -> None:
    """Measure and print."""
    command_line = parser(__doc__.splitlines()[0] if __doc__ else "")
    command_line.add_argument("--contacts", type=int, default=CONTACTS)
    command_line.add_argument("--seed", type=int, default=1)
    options = command_line.parse_args()
    postgres = PostgresServer(shared_buffers="1GB")
    try:
        postgres.start()
        figures = uvloop.run(run(options, postgres))
    finally:
        postgres.remove()
    write_figures(options.json, figures)


if __name__ == "__main__":
    main()
