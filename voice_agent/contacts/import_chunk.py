"""A chunk of an import's rows, written in the transaction that raises its cursor. Nothing here commits.

Contacts, numbers, tags, members of a list, consents, suppressions, refusals: all of it or nothing. What the rows do is
decided by `import_plan`; here it is looked up and written down, each kind of thing in one or two statements for the
whole chunk. Calls share the event loop: what is done in Python alone is cut into pieces of some rows, and others have
their turn in between.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts import import_repository, repository
from voice_agent.contacts.columns import EDITABLE, ZonesOfRegion, changes_of, columns_of
from voice_agent.contacts.import_model import Counts, ImportOptions
from voice_agent.contacts.import_plan import Known, Plan, Refused, Row, draft_of
from voice_agent.contacts.import_words import cells_of, consent_of
from voice_agent.contacts.ports import ImportLedger
from voice_agent.contacts.reading.model import MappedColumn, RowRefusal, TakenRow
from voice_agent.phone_numbers import Repair
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactPhoneRow, ContactRow

ROWS_AT_A_TIME = 50
"""Between two turns of the event loop: a millisecond or two."""

REPAIRS = frozenset(repair.value for repair in Repair)
SUPPRESSED_WORDS = "the imported file says so"

_Item = TypeVar("_Item")


class Overtaken(Exception):
    """Somebody else has taken a number or a key meanwhile: what was decided does not hold."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that follow one another in the file."""

    first: int
    """The cursor before them."""

    last: int
    """The cursor behind them."""

    taken: Sequence[TakenRow]
    refused: Sequence[RowRefusal]
    blank: int

    def halves(self) -> tuple["Piece", "Piece"]:
        """Return the rows in two pieces; of one that has a single row the second is empty."""
        middle = (self.first + self.last) // 2
        return self._between(self.first, middle, blank=0), self._between(middle, self.last, blank=self.blank)

    def _between(self, first: int, last: int, *, blank: int) -> "Piece":
        return Piece(
            first=first,
            last=last,
            taken=[each for each in self.taken if first < each.row <= last],
            refused=[each for each in self.refused if first < each.row <= last],
            blank=blank,
        )


class ChunkContext(msgspec.Struct, frozen=True, kw_only=True):
    """What all chunks of an import have in common."""

    org_id: UUID
    import_id: UUID
    options: ImportOptions
    columns: Sequence[MappedColumn]
    created_by: str


class ChunkWriter:
    """One for the process."""

    def __init__(
        self, compliance: ImportLedger, *, zones_of_region: ZonesOfRegion, clock: Callable[[], datetime]
    ) -> None:
        """`clock` returns the present in UTC."""
        self._compliance = compliance
        self._zones_of_region = zones_of_region
        self._clock = clock

    async def write(self, session: AsyncSession, context: ChunkContext, piece: Piece) -> Counts:
        """Do what the rows say; return what became of them. Raises Overtaken, or IntegrityError for the same reason."""
        rows = {contact.id: contact for contact in await self._there(session, context, piece.taken)}
        plan = await self._planned(session, context, piece.taken, rows)
        await self._write_contacts(session, context, plan, rows)
        joined = await self._write_members(session, context, plan)
        said = await self._write_compliance(session, context, piece.taken, plan)
        refused = [*piece.refused, *(self._refusal(each, context, piece.taken) for each in plan.refused)]
        await import_repository.refuse(session, context.org_id, context.import_id, refused)
        own = Counts(
            refused=len(piece.refused),
            blank=piece.blank,
            listed=joined,
            warnings=sum(any(code.code not in REPAIRS for code in each.warnings) for each in piece.taken),
            repaired=sum(any(code.code in REPAIRS for code in each.warnings) for each in piece.taken),
        )
        return plan.outcomes.plus(own).plus(said)

    # --- what is there ----------------------------------------------------------------------------------------
    async def _there(self, session: AsyncSession, context: ChunkContext, taken: Sequence[TakenRow]) -> list[ContactRow]:
        numbers = sorted({each.draft.number.e164 for each in taken})
        external_ids = sorted({each.draft.external_id for each in taken if each.draft.external_id})
        known = await repository.find_many(session, context.org_id, numbers, external_ids)
        found = {row.id: row for row in (*known.by_number.values(), *known.by_external_id.values())}
        return list(found.values())

    async def _planned(
        self,
        session: AsyncSession,
        context: ChunkContext,
        taken: Sequence[TakenRow],
        rows: dict[UUID, ContactRow],
    ) -> Plan:
        known = await self._known(session, context, rows)
        plan = Plan(known, context.options, iter(new_id, None))
        async for each in _in_turns(taken):
            plan.take(Row(number=each.row, draft=each.draft))
        return plan

    async def _known(self, session: AsyncSession, context: ChunkContext, rows: dict[UUID, ContactRow]) -> list[Known]:
        if not rows:
            return []
        ids = sorted(rows)
        phones = await repository.phones_by_contact(session, context.org_id, ids)
        changed = await import_repository.changed_by(session, context.import_id, ids)
        list_id = context.options.list_id
        listed = set() if list_id is None else await import_repository.listed(session, list_id, ids)
        known = []
        async for row in _in_turns(rows.values()):
            known.append(
                Known(
                    id=row.id,
                    draft=draft_of(_editable(row), _further(phones.get(row.id, ()))),
                    is_of_this_import=row.created_in == context.import_id or row.id in changed,
                    is_listed=row.id in listed,
                )
            )
        return known

    # --- contacts ---------------------------------------------------------------------------------------------
    async def _write_contacts(
        self, session: AsyncSession, context: ChunkContext, plan: Plan, rows: dict[UUID, ContactRow]
    ) -> None:
        now = self._clock()
        # Those that change come first: they may give up a number that a new one has.
        changed = await self._update(session, context, plan, rows, now)
        await self._insert(session, context, plan, now)
        tagged = await self._tag(session, context, plan, now)
        old = {contact.id for contact in plan.contacts if not contact.is_new}
        await repository.touch_many(
            session, context.org_id, (tagged & old) - changed, now, change_set_id=context.import_id
        )

    async def _update(
        self,
        session: AsyncSession,
        context: ChunkContext,
        plan: Plan,
        rows: dict[UUID, ContactRow],
        now: datetime,
    ) -> set[UUID]:
        updates = []
        async for contact in _in_turns([each for each in plan.contacts if each.is_changed]):
            further = [each.number.e164 for each in contact.draft.further]
            changes = changes_of(
                _editable(rows[contact.id]), contact.draft, further, zones_of_region=self._zones_of_region
            )
            is_same = contact.before is not None and contact.draft.further == contact.before.further
            if changes or not is_same:
                anew = None if is_same else contact.draft.further
                updates.append(repository.ContactUpdate(contact=rows[contact.id], changes=changes, further=anew))
        await repository.update_many(session, context.org_id, updates, now, change_set_id=context.import_id)
        return {each.contact.id for each in updates}

    async def _insert(self, session: AsyncSession, context: ChunkContext, plan: Plan, now: datetime) -> None:
        new = [each for each in plan.contacts if each.is_new]
        columns: list[dict[str, Any]] = []
        async for contact in _in_turns(new):
            row = columns_of(
                contact.draft,
                context.org_id,
                now,
                zones_of_region=self._zones_of_region,
                contact_id=contact.id,
                created_in=context.import_id,
                source="import",
            )
            columns.append(row)
        if len(await repository.insert_many(session, columns)) < len(columns):
            raise Overtaken
        phones = [phone for each in new for phone in repository.phones_of(each.id, context.org_id, each.draft.further)]
        await repository.insert_phones(session, phones)

    async def _tag(self, session: AsyncSession, context: ChunkContext, plan: Plan, now: datetime) -> set[UUID]:
        names = {name for contact in plan.contacts for name in contact.tags}
        tags = await repository.ensure_tags(session, context.org_id, names, now)
        pairs = {(contact.id, tags[name]) for contact in plan.contacts for name in contact.tags}
        return await repository.tag_many(session, context.org_id, pairs, added_in=context.import_id)

    async def _write_members(self, session: AsyncSession, context: ChunkContext, plan: Plan) -> int:
        if context.options.list_id is None:
            return 0
        joining = [contact.id for contact in plan.contacts if contact.joins]
        return await import_repository.join_list(
            session,
            context.org_id,
            context.options.list_id,
            joining,
            added_in=context.import_id,
            now=self._clock(),
        )

    # --- consents and suppressions ----------------------------------------------------------------------------
    async def _write_compliance(
        self, session: AsyncSession, context: ChunkContext, taken: Sequence[TakenRow], plan: Plan
    ) -> Counts:
        refused = {each.row.number for each in plan.refused}
        landed = [each for each in taken if each.row not in refused]
        numbers = sorted({each.draft.number.e164 for each in landed if each.is_do_not_call})
        suppressions = 0
        if numbers:
            suppressions = await self._compliance.suppress_many(
                session,
                context.org_id,
                numbers,
                source="import",
                reason=SUPPRESSED_WORDS,
                created_by=context.created_by,
            )
        said = (consent_of(each, context.import_id, context.options) for each in landed)
        entries = [entry for entry in said if entry is not None]
        consents = 0
        if entries:
            consents = await self._compliance.consent_many(
                session, context.org_id, entries, created_by=context.created_by
            )
        suppressed = await self._compliance.suppressed_among(session, context.org_id, sorted(set(plan.landed)))
        return Counts(
            suppressions=suppressions,
            consents=consents,
            suppressed=sum(number in suppressed for number in plan.landed),
        )

    def _refusal(self, refused: Refused, context: ChunkContext, taken: Sequence[TakenRow]) -> RowRefusal:
        row = next(each for each in taken if each.row == refused.row.number)
        header = next((each.header for each in context.columns if each.target == refused.column), refused.column)
        return RowRefusal(
            row=row.row,
            column=header,
            code=refused.code,
            reason=refused.reason,
            cells=cells_of(row, context.columns),
            warnings=row.warnings,
        )


async def _in_turns(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """Yield items, and let others have the event loop between some of them and the next."""
    for place, item in enumerate(items, 1):
        yield item
        if place % ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)


def _editable(row: ContactRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in EDITABLE}


def _further(phones: Iterable[ContactPhoneRow]) -> list[tuple[str, str, str]]:
    return [(phone.e164, phone.raw_number, phone.label) for phone in phones]
