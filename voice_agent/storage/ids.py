"""Keys of rows: UUID version 7, so that new rows lie together in every index.

Source: RFC 9562, section 5.7. Python offers the same as `uuid.uuid7` from 3.14 on.
"""

import secrets
import time
from uuid import UUID


def new_id() -> UUID:
    """Return a new key: 48 bits of Unix time in milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value)
