"""What every recogniser over a socket has in common is proven by the tests of its vendors, on their doubles.

Here: that both dialects are one, and how long a provider is asked again.
"""

import asyncio
import time
from collections.abc import Mapping

import msgspec

from voice_agent.errors import ProviderUnavailable
from voice_agent.integrations.transcription import Dialect, Heard, ResumableTranscription, TranscriptionLimits
from voice_agent.pipeline.ports import Transcript, TranscriptionLost, TranscriptionStream


class NobodyDialect:
    """Leads nowhere."""

    provider = "nobody"
    url = "ws://127.0.0.1:1/"
    session_limit_s = 600.0
    keep_alive = b""

    def headers(self) -> Mapping[str, str]:
        return {}

    def opening(self) -> tuple[bytes, ...]:
        return ()

    def audio(self, mulaw: bytes) -> bytes:
        return mulaw

    def commit(self) -> bytes:
        return b""

    def read(self, payload: bytes) -> Heard | None:
        raise msgspec.DecodeError(payload)


async def test_a_provider_that_is_not_there_is_lost_after_growing_pauses() -> None:
    """F17."""
    limits = TranscriptionLimits(first_delay_s=0.02, longest_delay_s=0.04, failures=3)
    dialect: Dialect = NobodyDialect()
    heard: list[Transcript] = []
    done = asyncio.Event()

    def report(transcript: Transcript) -> None:
        heard.append(transcript)
        done.set()

    began_s = time.monotonic()
    stream: TranscriptionStream = ResumableTranscription(dialect, report, limits)
    stream.send(b"\xff" * 160)
    stream.commit()
    async with asyncio.timeout(5):
        await done.wait()
    assert time.monotonic() - began_s > 0.8 * (0.02 + 0.04 + 0.04)
    (lost,) = heard
    assert isinstance(lost, TranscriptionLost)
    assert isinstance(lost.error, ProviderUnavailable)
    stream.send(b"\xff" * 160)
    stream.commit()
    await stream.close()
    assert heard == [lost]
