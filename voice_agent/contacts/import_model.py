"""An import's life, what may be chosen for it, and how its progress is told. Pure.

How it works
------------
    waiting --file--> ready --start--> queued --place--> running --end--> done
    fetching --file--> ready                             running --cancel--> cancelling --end--> cancelled
    waiting --start--> fetching (of pushed rows)

An import waits for its file, or it is fetched. One whose rows are pushed waits for them; to start it is to have its
file made of them, and to start. Ready, it can be looked at and
corrected as often as people like. Started, it waits for a place: `AT_ONCE` imports of an organisation run at a time.
Cancelled before it runs it is over at once; while it runs it ends behind the rows that are being written, and what has
landed stays. `fail` leads from every state that is not final to failed. Nothing leads out of a final state: what the
import changed is taken back by its change set (`contacts.changes`).

Rows are settled in the order of the file. `cursor` counts those that are, and is raised in the transaction that writes
what they changed, so that a process that dies has neither done half of them nor forgotten that it did them.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from voice_agent.compliance.model import Basis, Purpose
from voice_agent.contacts.model import MAX_TAGS
from voice_agent.errors import Conflict, InvalidRequest

AT_ONCE = 3
"""Running imports of an organisation; HubSpot lets as many (campaigns.md 1C)."""

LARGEST_FILE = 500_000_000
"""Bytes (campaigns.md 1C)."""

LARGEST_PASTE = 1_000_000
"""Characters of pasted text: what a spreadsheet's clipboard brings, some ten thousand rows."""

ROWS_OF_A_BATCH = 1_000
"""Of rows that are pushed."""

BATCHES = 10_000
WINDOW_S = 10.0
"""What rows per second are told over."""


class ImportSource(StrEnum):
    """Where the rows come from."""

    UPLOAD = "upload"
    STORAGE = "storage"
    URL = "url"
    PUSH = "push"
    PASTE = "paste"


class ImportState(StrEnum):
    """How far an import is."""

    WAITING = "waiting"
    FETCHING = "fetching"
    READY = "ready"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Event(StrEnum):
    """What moves an import on."""

    FILE = "file"
    """Its file is here, and has been looked at."""

    START = "start"
    PLACE = "place"
    """One of the organisation's running imports has ended."""

    CANCEL = "cancel"
    END = "end"
    """Its last row is settled, or, where it is cancelled, the last one that was under way."""

    FAIL = "fail"


_S = ImportState
FINAL = frozenset({_S.DONE, _S.CANCELLED, _S.FAILED})
EDITABLE = frozenset({_S.WAITING, _S.READY})
"""Where people decide: what the file is, which column goes where, what becomes of rows."""

AT_WORK = frozenset({_S.RUNNING, _S.CANCELLING})

_MOVES: dict[tuple[ImportState, Event], ImportState] = {
    (_S.WAITING, Event.FILE): _S.READY,
    (_S.FETCHING, Event.FILE): _S.READY,
    (_S.READY, Event.FILE): _S.READY,  # another one in its place
    (_S.WAITING, Event.START): _S.FETCHING,  # of pushed rows alone: others have nothing to start with
    (_S.READY, Event.START): _S.QUEUED,
    (_S.QUEUED, Event.PLACE): _S.RUNNING,
    (_S.RUNNING, Event.END): _S.DONE,
    (_S.CANCELLING, Event.END): _S.CANCELLED,
    (_S.WAITING, Event.CANCEL): _S.CANCELLED,
    (_S.FETCHING, Event.CANCEL): _S.CANCELLED,
    (_S.READY, Event.CANCEL): _S.CANCELLED,
    (_S.QUEUED, Event.CANCEL): _S.CANCELLED,
    (_S.RUNNING, Event.CANCEL): _S.CANCELLING,
    (_S.CANCELLING, Event.CANCEL): _S.CANCELLING,
    **{(state, Event.FAIL): _S.FAILED for state in _S if state not in FINAL},
}

_WHY_NOT = {
    Event.FILE: "its file cannot be changed any more",
    Event.START: "it cannot be started",
    Event.PLACE: "it does not wait for a place",
    Event.CANCEL: "it is over",
    Event.END: "it does not run",
    Event.FAIL: "it is over",
}


def moved(state: ImportState, event: Event) -> ImportState:
    """Return the state after an event. Raises Conflict where the event is none of this state's."""
    try:
        return _MOVES[state, event]
    except KeyError:
        raise Conflict(f"the import is {state}: {_WHY_NOT[event]}") from None


class Treatment(StrEnum):
    """What a row may do to a contact that is there already."""

    SKIP = "skip"
    """Nothing."""

    UPDATE = "update"
    """What the row says holds; what it does not say stays."""

    MERGE = "merge"
    """The row fills in what is empty."""


class BadValue(StrEnum):
    """What becomes of a row with a value that is none, such as a mistyped e-mail address."""

    DROP = "drop"
    """It lands without the value, with a warning."""

    REFUSE = "refuse"


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people decide about an import, beside which column goes where."""

    country: str = ""
    """Where numbers without a country's code are, ISO 3166; empty: such rows are refused."""

    bad_values: BadValue = BadValue.DROP
    list_id: UUID | None = None
    """The static list that every row's contact joins, those that are skipped too."""

    tags: tuple[str, ...] = ()
    """Given to every contact that a row makes or changes."""

    existing: Treatment = Treatment.MERGE
    """Of contacts that were there before the import."""

    repeated: Treatment = Treatment.SKIP
    """Of contacts that an earlier row of the file has made or changed."""

    listed: Treatment | None = None
    """Of contacts that are on the list already; None: as of the others."""

    consent_purpose: Purpose = Purpose.MARKETING
    """Of consents whose rows do not say what for."""

    consent_basis: Basis = Basis.OTHER
    """Of consents whose rows do not say on what; the weakest, unless somebody knows better."""

    fields: dict[str, Treatment] = {}
    """Of single fields, by name, `custom` or `custom.{key}`, where it differs from the row's treatment."""

    def treatment_of(self, field: str, default: Treatment) -> Treatment:
        """Return what a row may do to a field of a contact that is not skipped."""
        return self.fields.get(field) or self.fields.get(field.partition(".")[0]) or default


FIELDS = ("name", "given_name", "family_name", "company", "email", "external_id", "locale", "region", "zone")
"""Of a contact, each treated as it is told."""

_TREATED = frozenset({*FIELDS, "number", "further", "custom"})


def options_of(given: dict[str, Any]) -> ImportOptions:
    """Read what somebody chose. Raises InvalidRequest that names what is wrong."""
    try:
        options = msgspec.convert(given, ImportOptions)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"options: {error}") from None
    if options.country and not (len(options.country) == 2 and options.country.isascii() and options.country.isupper()):
        raise InvalidRequest("options.country: is an ISO 3166 code, such as ES")
    if len(options.tags) > MAX_TAGS or any(not 0 < len(tag.strip()) <= 200 for tag in options.tags):
        raise InvalidRequest(f"options.tags: at most {MAX_TAGS}, of 1 to 200 characters each")
    if unknown := [name for name in options.fields if name.partition(".")[0] not in _TREATED]:
        raise InvalidRequest(f"options.fields: {unknown[0]!r} is no field")
    return options


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Settled rows by what became of them; the first seven add up to the cursor."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    """Their contact was there already, and such are left alone."""

    repeated: int = 0
    """Their contact was in an earlier row of the file, and such are left alone."""

    refused: int = 0
    blank: int = 0
    """There is nothing in them."""

    listed: int = 0
    """Contacts that joined the list."""

    suppressed: int = 0
    """Rows that landed and whose number is not to be called, those that say so themselves included."""

    suppressions: int = 0
    """Numbers that the file says are not to be called, and that were not suppressed before."""

    consents: int = 0
    """Entries of the ledger."""

    warnings: int = 0
    """Rows that landed without one of their values."""

    repaired: int = 0
    """Rows whose number was mended."""

    def plus(self, other: "Counts") -> "Counts":
        """Return the sum."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.__struct_fields__})

    @property
    def settled(self) -> int:
        """How many rows these are."""
        landed = self.created + self.updated + self.unchanged + self.skipped + self.repeated
        return landed + self.refused + self.blank


class Speedometer:
    """Rows per second over the last `WINDOW_S` seconds. `at` is seconds that never go back."""

    def __init__(self, at: float) -> None:
        self._marks: list[tuple[float, int]] = [(at, 0)]

    def add(self, rows: int, at: float) -> float:
        """Note rows that are settled; return the rate."""
        total = self._marks[-1][1] + rows
        self._marks.append((at, total))
        while len(self._marks) > 2 and self._marks[1][0] <= at - WINDOW_S:
            del self._marks[0]
        since, before = self._marks[0]
        return (total - before) / max(at - since, 0.001)


def seconds_left(rows_total: int | None, cursor: int, rows_per_s: float | None) -> float | None:
    """Return how long the rest takes at this rate; None where that is not known."""
    if rows_total is None or not rows_per_s:
        return None
    return max(0, rows_total - cursor) / rows_per_s
