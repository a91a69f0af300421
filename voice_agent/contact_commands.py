"""What `voice-agent contacts` does: opens what it needs of an installation, and tells people what came of it.

Progress goes to standard error, one line that is written anew where that is a terminal; results go to standard output.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import typer

from voice_agent.app import contact_imports, file_storage
from voice_agent.compliance.packs import load_packs
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts.import_command import Outcome, Wanted, dry_run, import_file
from voice_agent.contacts.imports import Imports
from voice_agent.contacts.reading.model import Preview
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.process import configure_logging
from voice_agent.settings import Settings
from voice_agent.storage.database import Database, database_url

SHOWN = 20
"""Rows of a dry run."""


def import_contacts(
    settings: Settings,
    file: Path,
    *,
    list_name: str,
    country: str,
    template: str,
    is_dry_run: bool,
    json_file: Path | None,
) -> int:
    """Import a file, or say what that would do; return the exit code, 1 where rows were refused."""
    configure_logging("WARNING")
    wanted = Wanted(file=file, list_name=list_name, country=country, template=template, is_dry_run=is_dry_run)
    answer = asyncio.run(_do(settings, wanted))
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(answer, enc_hook=str), indent=1) + b"\n")
    if isinstance(answer, Preview):
        typer.echo(described_preview(answer))
        return 1 if answer.refused else 0
    typer.echo(described(answer))
    return 0 if answer.is_good else 1


async def _do(settings: Settings, wanted: Wanted) -> Preview | Outcome:
    async with _opened(settings) as (database, imports):
        if wanted.is_dry_run:
            return await dry_run(database, imports, wanted)
        return await import_file(database, imports, wanted, _tell)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, Imports]]:
    database = Database(database_url(settings))
    storage, _ = file_storage(settings, settings.server.public_base_url)
    try:
        if not database.is_pooled_by_transaction:
            await database.migrate()
        compliance = ComplianceService(load_packs(settings.compliance.packs_dir), clock=lambda: datetime.now(UTC))
        yield database, contact_imports(settings, database, storage, JobOutbox(), compliance)
    finally:
        await storage.close()
        await database.close()


def _tell(line: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{line}", err=True, nl=False)
    else:
        typer.echo(line, err=True)


def described(outcome: Outcome) -> str:
    """Return what came of an import, for people."""
    counts = {name: count for name, count in msgspec.to_builtins(outcome.counts).items() if count}
    lines = [f"\n{outcome.state}: {outcome.rows:,} rows in {outcome.seconds:g} s"]
    lines += [f"  {count:>9,} {name}" for name, count in counts.items()]
    if outcome.error:
        lines.append(outcome.error)
    if outcome.rejected is not None:
        lines.append(f"The bad rows are in {outcome.rejected}: correct them there, and import that file.")
    return "\n".join(lines)


def described_preview(preview: Preview) -> str:
    """Return what an import would do, for people."""
    whole = "the whole file" if preview.is_whole else "as far as was looked"
    lines = [
        f"{preview.rows:,} rows ({whole}): {preview.taken:,} can be taken, {preview.refused:,} cannot, "
        f"{preview.duplicates:,} have a number that came before"
    ]
    lines += [f"  {count:>9,} {code}" for code, count in Counter(preview.codes).most_common()]
    for row in preview.worst[:SHOWN]:
        if row.refused is not None:
            lines.append(f"row {row.row}: {row.refused.column}: {row.refused.reason}: {' | '.join(row.cells)[:100]}")
    return "\n".join(lines)
