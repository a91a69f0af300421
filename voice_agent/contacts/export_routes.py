"""The REST interface of exports: a download that leaves while the contacts are read.

An error in the middle breaks the connection off, without the end that HTTP's chunks have: no client takes a part for
the whole. JSON lines have a last line besides, and an XLSX without its end is no file at all.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.contacts.export import ContactExport, ExportOrder
from voice_agent.contacts.export_formats import CsvStyle, Format
from voice_agent.errors import InvalidRequest
from voice_agent.rest.inputs import SearchText
from voice_agent.rest.problems import refusals

PATH = "/api/v1/contacts/export"

MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.JSONL: "application/jsonl",
}
_CONTENT: dict[str, Any] = {
    "text/csv": {"schema": {"type": "string"}},
    MEDIA_TYPES[Format.XLSX]: {"schema": {"type": "string", "format": "binary"}},
    MEDIA_TYPES[Format.JSONL]: {"schema": {"type": "string"}},
}
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}


def export_router(exports: ContactExport, gate: Gate) -> APIRouter:
    """Return the route /api/v1/contacts/export; it goes before /api/v1/contacts/{contact_id}."""
    router = APIRouter(tags=["contacts"], responses=refusals(404))
    Exporter = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_EXPORT))]

    @router.get(PATH, response_class=StreamingResponse, responses={200: {"content": _CONTENT}})
    async def export_contacts(principal: Exporter, order: Annotated[ExportOrder, Depends(_order)]) -> StreamingResponse:
        """Download contacts: all of them, those that fit a filter, or those of a list or a segment."""
        pieces = await exports.begin(principal, order)
        name = f"contacts-{datetime.now(UTC):%Y-%m-%d}.{order.format}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[order.format], headers=headers)

    return router


async def _style(
    delimiter: Annotated[Literal["comma", "semicolon", "tab"], Query(description="Of CSV.")] = "comma",
    bom: Annotated[bool, Query(description="Of CSV: with a byte order mark, for Excel.")] = False,
    escape: Annotated[
        bool, Query(description="Of CSV: with an apostrophe before cells that could be formulas.")
    ] = True,
    excel_numbers: Annotated[
        bool, Query(description='Of CSV: numbers as ="+34612345678", which Excel leaves as they are.')
    ] = False,
) -> CsvStyle:
    return CsvStyle(delimiter=_DELIMITERS[delimiter], has_bom=bom, is_escaped=escape, keeps_plus=excel_numbers)


async def _order(
    style: Annotated[CsvStyle, Depends(_style)],
    format: Format = Format.CSV,
    columns: Annotated[
        SearchText, Query(max_length=20_000, description="Names divided by commas; empty: what an import takes.")
    ] = "",
    filter: Annotated[
        SearchText | None, Query(max_length=20_000, description="A filter, as JSON (docs/contacts.md).")
    ] = None,
    list_id: Annotated[UUID | None, Query(description="A list or a segment.")] = None,
    end_line: Annotated[bool, Query(description="Of JSON lines: with a last line that says so.")] = True,
) -> ExportOrder:
    return ExportOrder(
        format=format,
        columns=tuple(column.strip() for column in columns.split(",") if column.strip()),
        filter=None if filter is None else _document(filter),
        list_id=list_id,
        style=style,
        has_end=end_line,
    )


def _document(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRequest("filter: is no JSON") from None
