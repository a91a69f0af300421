"""The words between the server and its recognition worker: frames over a pipe, in both directions. Pure.

A frame is one byte of kind, four of stream, four of length (little-endian), and the payload. The worker answers every
commit by exactly one final text, in order; streams begin with their first frame.
"""

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = struct.Struct("<BII")


class Kind(enum.IntEnum):
    """What a frame says."""

    GRAMMAR = 1
    """To the worker, once and first: `grammar.Grammar` as MessagePack."""

    AUDIO = 2
    """To the worker: mu-law of a stream."""

    COMMIT = 3
    """To the worker: answer with what has been said."""

    CLOSE = 4
    """To the worker: forget the stream."""

    READY = 5
    """From the worker: the grammar is loaded."""

    REFUSED = 6
    """From the worker: the grammar cannot be used, and why. Nothing follows."""

    INTERIM = 7
    """From the worker: what has been said since the last commit, UTF-8."""

    FINAL = 8
    """From the worker: the answer to one commit, UTF-8."""


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    stream: int
    payload: bytes


def pack(kind: Kind, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame as bytes."""
    return _HEADER.pack(kind, stream, len(payload)) + payload


class FrameReader:
    """Frames from bytes as they come."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, received: bytes) -> Iterator[Frame]:
        """Yield every frame that is complete. Raises ValueError for a kind that is none."""
        self._received += received
        while len(self._received) >= _HEADER.size:
            kind, stream, length = _HEADER.unpack_from(self._received)
            end = _HEADER.size + length
            if len(self._received) < end:
                return
            payload = bytes(self._received[_HEADER.size : end])
            del self._received[:end]
            yield Frame(Kind(kind), stream, payload)
