"""WAV files, for the tests of recordings."""

import io
import struct
import wave

LEFT, RIGHT = 8_000, 4_000


def a_wav(*, seconds: float = 5.0, channels: int = 2, width: int = 2) -> bytes:
    """Return a file whose channels have constant levels, of telephone rate."""
    content = io.BytesIO()
    frame = b"".join(level.to_bytes(2, "little")[-width:] for level in (LEFT, RIGHT)[:channels])
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8_000)
        file.writeframes(frame * round(8_000 * seconds))
    return content.getvalue()


def a_mulaw_wav() -> bytes:
    """Return a WAV file whose samples are not PCM."""
    sound = b"\x7f" * 800
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 7, 1, 8_000, 8_000, 1, 8)
    return struct.pack("<4sI4s", b"RIFF", 36 + len(sound), b"WAVE") + form + struct.pack("<4sI", b"data", 800) + sound
