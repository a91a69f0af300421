"""The REST interface of imports and their templates. It translates; `ContactImporter` does."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.import_batches import push
from voice_agent.contacts.import_files import too_large
from voice_agent.contacts.import_model import BATCHES, LARGEST_FILE, Counts, ImportSource
from voice_agent.contacts.import_schemas import (
    BatchBody,
    BatchOut,
    ImportDetail,
    ImportEditBody,
    ImportOut,
    ImportTemplateOut,
    NewImportBody,
    PreviewOut,
    RejectedOut,
    TemplateBody,
    mapping_struct,
)
from voice_agent.contacts.import_templates import ImportTemplates, kept_mapping
from voice_agent.contacts.importer import ContactImporter, ImportEdit, NewImport
from voice_agent.contacts.reading.model import FileFormat, FileKind
from voice_agent.errors import NotFound
from voice_agent.rest.etags import IfMatch, check_if_match, etag
from voice_agent.rest.idempotency import idempotent_route
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.tables import ImportRow

LINK_S = 300
"""Lifetime of a signed address, the longest that is allowed (reliability.md section 5, row 10)."""

BatchNumber = Annotated[int, Path(ge=1, le=BATCHES, description="Given by whoever pushes; batches follow by it.")]

_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def imports_router(
    importer: ContactImporter, templates: ImportTemplates, gate: Gate, transactions: Transactions
) -> APIRouter:
    """Return the routes under /api/v1/imports and /api/v1/import-templates."""
    router = APIRouter()
    router.include_router(_looking_router(importer, gate, transactions))
    router.include_router(_making_router(importer, templates, gate, transactions))
    router.include_router(_running_router(importer, gate, transactions))
    router.include_router(_templates_router(templates, gate, transactions))
    return router


def _looking_router(importer: ContactImporter, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(prefix="/api/v1/imports", tags=["imports"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_READ))]

    @router.get("")
    async def list_imports(
        principal: Reader, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
    ) -> Page[ImportOut]:
        """List the imports, newest first."""
        rows = await repository.page(session, principal.org_id, before=place(cursor), limit=limit + 1)
        changes = await repository.change_sets(session, principal.org_id, [row.id for row in rows])
        return Page[ImportOut].of(rows, limit, lambda row: ImportOut.of(row, changes.get(row.id)))

    @router.get("/{import_id}")
    async def get_import(principal: Reader, import_id: UUID, session: Reading, response: Response) -> ImportDetail:
        """Return an import: what its file is, and how far it is."""
        row = await importer.find(session, principal.org_id, import_id)
        changes = await repository.change_sets(session, principal.org_id, [row.id])
        response.headers["ETag"] = etag(row.revision)
        return ImportDetail.of(row, changes.get(row.id))

    @router.get("/{import_id}/preview", responses=refusals(409, 502))
    async def preview_import(principal: Reader, import_id: UUID) -> PreviewOut:
        """Return the first 50 rows and the 50 worst, each with the repair that would be made or why it is refused."""
        return PreviewOut.of(await importer.preview(principal.org_id, import_id))

    @router.get("/{import_id}/rejected", responses=refusals(502))
    async def get_rejected_rows(principal: Reader, import_id: UUID, session: Reading) -> RejectedOut:
        """Return an address of the file of bad rows, good for five minutes.

        It is a CSV file with the original columns and what is wrong with each row: corrected, it can be uploaded as it
        is (`retry_rejected_rows`).
        """
        row = await importer.find(session, principal.org_id, import_id)
        if row.rejected_key is None:
            raise NotFound("there are no bad rows, or none yet")
        url = await importer.files.link(row.rejected_key, ttl_s=LINK_S)
        expires_at = importer.clock() + timedelta(seconds=LINK_S)
        return RejectedOut(url=url, expires_at=expires_at, rows=Counts(**row.counts).refused)

    return router


def _making_router(
    importer: ContactImporter, templates: ImportTemplates, gate: Gate, transactions: Transactions
) -> APIRouter:
    router = APIRouter(prefix="/api/v1/imports", tags=["imports"], route_class=_idempotent(gate, transactions))
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_WRITE))]

    async def begun(session: AsyncSession, principal: Principal, body: NewImportBody) -> NewImport:
        mapping, options = mapping_struct(body.mapping), body.options.plain() if body.options else {}
        if body.template is not None:
            template = await templates.named(session, principal.org_id, body.template)
            mapping = mapping if body.mapping is not None else kept_mapping(template)
            options = options if body.options is not None else template.options
        chosen = body.format.struct() if body.format is not None else FileFormat()
        if body.source is ImportSource.PUSH:
            chosen = FileFormat(kind=FileKind.JSON)
        return NewImport(
            source=body.source,
            name=body.name,
            source_ref=body.url or body.key or "",
            options=options,
            mapping=mapping,
            format=chosen,
        )

    @router.post("", status_code=status.HTTP_201_CREATED, responses=refusals(409, 502))
    async def create_import(principal: Writer, body: NewImportBody, response: Response) -> ImportDetail:
        """Make an import. Next its file is uploaded, or its rows are pushed; from elsewhere it is fetched by itself."""
        async with transactions.database.write() as session:
            row = await importer.create(session, principal, await begun(session, principal, body))
        if body.text is not None:
            row = await importer.receive(principal.org_id, row.id, _once(body.text.encode()))
        response.headers["Location"] = f"/api/v1/imports/{row.id}"
        return _shown(row, response)

    @router.put("/{import_id}/file", responses=refusals(409, 413, 502), openapi_extra=_FILE)
    async def upload_import_file(
        principal: Writer, import_id: UUID, request: Request, response: Response
    ) -> ImportDetail:
        """Take the file of an import, as it is: CSV, XLSX, JSON lines, vCard or text, 500 MB at the most.

        The answer tells what the file is and what its columns are taken for, to be corrected. Another file may take its
        place until the import starts.
        """
        if int(request.headers.get("Content-Length") or 0) > LARGEST_FILE:
            raise too_large(LARGEST_FILE)
        return _shown(await importer.receive(principal.org_id, import_id, request.stream()), response)

    @router.patch("/{import_id}", responses=refusals(409, 502))
    async def edit_import(
        principal: Writer, import_id: UUID, body: ImportEditBody, response: Response, if_match: IfMatch = None
    ) -> ImportDetail:
        """Correct what the file is, where its columns go, and what becomes of its rows."""
        mapping = None if body.mapping is None else mapping_struct(body.mapping)
        if body.template is not None:
            async with transactions.database.read() as session:
                template = await templates.named(session, principal.org_id, body.template)
                row = await importer.find(session, principal.org_id, import_id)
            mapping = mapping or importer.orders.fitted(row, kept_mapping(template))
        edit = ImportEdit(
            name=body.name,
            format=None if body.format is None else body.format.struct(),
            mapping=mapping,
            options=None if body.options is None else body.options.plain(),
        )
        row = await importer.edit(principal, import_id, edit, lambda revision: check_if_match(if_match, revision))
        return _shown(row, response)

    return router


def _running_router(importer: ContactImporter, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(
        prefix="/api/v1/imports",
        tags=["imports"],
        route_class=_idempotent(gate, transactions),
        responses=refusals(409),
    )
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_WRITE))]
    Deleter = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_DELETE))]

    @router.post("/{import_id}/batches/{number}")
    async def push_import_rows(
        principal: Writer, import_id: UUID, number: BatchNumber, body: BatchBody, session: Writing
    ) -> BatchOut:
        """Push rows. A batch that comes twice is one; with other rows it is refused."""
        row = await importer.locked(session, principal.org_id, import_id)
        await push(session, row, number, body.rows)
        return BatchOut(number=number, rows=len(body.rows))

    @router.post("/{import_id}/start")
    async def start_import(principal: Writer, import_id: UUID, session: Writing) -> ImportOut:
        """Have an import run. Three of an organisation do at a time, others wait."""
        return ImportOut.of(await importer.start(session, principal, import_id))

    @router.post("/{import_id}/cancel")
    async def cancel_import(principal: Writer, import_id: UUID, session: Writing) -> ImportOut:
        """End an import where it is. What has landed stays, and its counts say what that is; `undo` takes it back."""
        return ImportOut.of(await importer.cancel(session, principal, import_id))

    @router.post("/{import_id}/undo")
    async def undo_import(principal: Deleter, import_id: UUID, session: Writing) -> ImportOut:
        """Take back what an import has changed, but for contacts that have been changed since.

        Suppressions and consents stay: they are about people, not about the import.
        """
        row = await importer.undo(session, principal, import_id)
        return ImportOut.of(row, (await repository.change_sets(session, principal.org_id, [row.id])).get(row.id))

    @router.post("/{import_id}/retry-rejected", status_code=status.HTTP_201_CREATED)
    async def retry_rejected_rows(
        principal: Writer, import_id: UUID, session: Writing, response: Response
    ) -> ImportDetail:
        """Make an import for the corrected file of bad rows, to be uploaded next; its columns go where they went."""
        row = await importer.retry(session, principal, import_id)
        response.headers["Location"] = f"/api/v1/imports/{row.id}"
        return _shown(row, response)

    return router


def _templates_router(templates: ImportTemplates, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(prefix="/api/v1/import-templates", tags=["imports"], route_class=_idempotent(gate, transactions))
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_WRITE))]

    @router.get("")
    async def list_import_templates(principal: Reader, session: Reading) -> list[ImportTemplateOut]:
        """List the templates, by name."""
        return [ImportTemplateOut.of(row) for row in await repository.templates(session, principal.org_id)]

    @router.post("", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def create_import_template(principal: Writer, body: TemplateBody, session: Writing) -> ImportTemplateOut:
        """Keep a mapping, to be used again."""
        mapping, options = mapping_struct(body.mapping), body.options.plain()
        return ImportTemplateOut.of(await templates.save(session, principal, body.name, mapping, options))

    @router.get("/{template_id}")
    async def get_import_template(principal: Reader, template_id: UUID, session: Reading) -> ImportTemplateOut:
        """Return a template."""
        return ImportTemplateOut.of(await templates.find(session, principal.org_id, template_id))

    @router.put("/{template_id}", responses=refusals(409))
    async def replace_import_template(
        principal: Writer, template_id: UUID, body: TemplateBody, session: Writing
    ) -> ImportTemplateOut:
        """Replace a template."""
        row = await templates.save(
            session,
            principal,
            body.name,
            mapping_struct(body.mapping),
            body.options.plain(),
            template_id=template_id,
        )
        return ImportTemplateOut.of(row)

    @router.delete("/{template_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_import_template(principal: Writer, template_id: UUID, session: Writing) -> None:
        """Delete a template; imports that used it keep what it said."""
        await templates.delete(session, principal, template_id)

    return router


def _idempotent(gate: Gate, transactions: Transactions) -> Any:
    async def org_of(request: Request) -> UUID:
        return (await gate.identify(request)).org_id

    return idempotent_route(transactions.database, org_of)


def _shown(row: ImportRow, response: Response) -> ImportDetail:
    response.headers["ETag"] = etag(row.revision)
    return ImportDetail.of(row)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
