"""The words between the server and the child that reads a file: one request, then frames until the last one. Pure.

A frame is one byte of kind, four of length (little-endian), and MessagePack.
"""

import enum
import struct
from typing import Any

import msgspec

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

HEADER = struct.Struct("<BI")


class Kind(enum.IntEnum):
    """What a frame says."""

    REFUSED = 1
    """The file cannot be read, and why. Nothing follows."""

    CHUNK = 2
    """Rows; the one that is `is_last` is the last frame."""

    INSPECTION = 3
    PREVIEW = 4


class Inspect(msgspec.Struct, frozen=True, kw_only=True, tag="inspect"):
    """Ask what a file is."""

    path: str
    overrides: FileFormat = FileFormat()
    options: ReadOptions = ReadOptions()
    max_bytes: int = MAX_FILE_BYTES


class PreviewIt(msgspec.Struct, frozen=True, kw_only=True, tag="preview"):
    """Ask what an import would do."""

    path: str
    order: Order
    max_bytes: int = MAX_FILE_BYTES


class Read(msgspec.Struct, frozen=True, kw_only=True, tag="read"):
    """Ask for every row."""

    path: str
    order: Order
    max_bytes: int = MAX_FILE_BYTES


Request = Inspect | PreviewIt | Read
Answer = Chunk | Inspection | Preview


class Refusal(msgspec.Struct, frozen=True):
    """A FileRefused on its way."""

    problem: FileProblem
    message: str


_ENCODER = msgspec.msgpack.Encoder()
_KINDS: dict[type[Answer] | type[Refusal], Kind] = {
    Chunk: Kind.CHUNK,
    Inspection: Kind.INSPECTION,
    Preview: Kind.PREVIEW,
    Refusal: Kind.REFUSED,
}
_DECODERS: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    Kind.CHUNK: msgspec.msgpack.Decoder(Chunk),
    Kind.INSPECTION: msgspec.msgpack.Decoder(Inspection),
    Kind.PREVIEW: msgspec.msgpack.Decoder(Preview),
}
_REFUSALS = msgspec.msgpack.Decoder(Refusal)


def pack(answer: Answer | Refusal) -> bytes:
    """Return an answer as a frame."""
    payload = _ENCODER.encode(answer)
    return HEADER.pack(_KINDS[type(answer)], len(payload)) + payload


def unpack(kind: int, payload: bytes) -> Answer:
    """Return an answer. Raises FileRefused where the child refused the file, ValueError for what is no frame."""
    if kind == Kind.REFUSED:
        refusal = _REFUSALS.decode(payload)
        raise FileRefused(refusal.problem, refusal.message)
    answer: Answer = _DECODERS[Kind(kind)].decode(payload)
    return answer


def pack_request(request: Request) -> bytes:
    """Return a request with its length before it."""
    payload = _ENCODER.encode(request)
    return HEADER.pack(0, len(payload)) + payload


def unpack_request(payload: bytes) -> Request:
    """Return a request without its length. Raises msgspec.DecodeError."""
    request: Request = msgspec.msgpack.decode(payload, type=Request)
    return request
