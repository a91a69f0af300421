"""The contract of SpeechToText."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.pipeline.ports import (
    FinalTranscript,
    InterimTranscript,
    SpeechToText,
    Transcript,
    TranscriptionLost,
    TranscriptionStream,
)

PATIENCE_S = 10.0


def words(text: str) -> list[str]:
    """Return a transcript as lower-case words: recognisers differ in punctuation."""
    return re.findall(r"[\w']+", text.lower())


@dataclass
class Hearing:
    """An adapter, and two clips (mu-law, whole 20 ms frames) with the words that it recognises in them."""

    port: SpeechToText
    clip: bytes
    text: str
    other_clip: bytes
    other_text: str
    language: str = "en"
    has_interims: bool = True


@dataclass
class Listening:
    """A stream under test and everything it has reported."""

    reports: list[Transcript] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    is_inside: bool = False
    stream: TranscriptionStream | None = None

    @classmethod
    def to(cls, hearing: Hearing) -> "Listening":
        listening = cls()
        listening.stream = hearing.port.open(language=hearing.language, on_transcript=listening.report)
        return listening

    def report(self, transcript: Transcript) -> None:
        assert not self.is_inside, "reported from within send or commit"
        self.reports.append(transcript)
        self.changed.set()

    @property
    def finals(self) -> list[list[str]]:
        return [words(report.text) for report in self.reports if isinstance(report, FinalTranscript)]

    @property
    def interims(self) -> list[str]:
        return [report.text for report in self.reports if isinstance(report, InterimTranscript)]

    @property
    def lost(self) -> list[TranscriptionLost]:
        return [report for report in self.reports if isinstance(report, TranscriptionLost)]

    def send(self, mulaw: bytes) -> None:
        """Send in telephone frames, all at once."""
        assert self.stream is not None
        self.is_inside = True
        for start in range(0, len(mulaw), FRAME_BYTES):
            self.stream.send(mulaw[start : start + FRAME_BYTES])
        self.is_inside = False

    def commit(self) -> None:
        assert self.stream is not None
        self.is_inside = True
        self.stream.commit()
        self.is_inside = False

    async def close(self) -> None:
        assert self.stream is not None
        await self.stream.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def final(self, count: int) -> None:
        await self.until(lambda: len(self.finals) >= count)


class SpeechToTextContract:
    """Inherit it, and override `hearing`."""

    @pytest.fixture
    def hearing(self) -> Hearing:
        raise NotImplementedError("the test class of an adapter provides it")

    async def test_one_commit_is_one_final_transcript(self, hearing: Hearing) -> None:
        listening = Listening.to(hearing)
        listening.send(hearing.clip)
        listening.commit()
        await listening.final(1)
        assert listening.finals == [words(hearing.text)]
        await listening.close()

    async def test_commits_are_answered_in_order(self, hearing: Hearing) -> None:
        listening = Listening.to(hearing)
        for clip in (hearing.clip, hearing.other_clip, hearing.clip):
            listening.send(clip)
            listening.commit()
        await listening.final(3)
        assert listening.finals == [words(hearing.text), words(hearing.other_text), words(hearing.text)]
        await listening.close()

    async def test_nothing_said_is_an_empty_final_transcript(self, hearing: Hearing) -> None:
        listening = Listening.to(hearing)
        listening.send(silence(4 * FRAME_BYTES))
        listening.commit()
        await listening.final(1)
        assert listening.finals == [[]]
        await listening.close()

    async def test_a_commit_without_audio_is_answered_in_its_place(self, hearing: Hearing) -> None:
        listening = Listening.to(hearing)
        listening.commit()
        listening.send(hearing.clip)
        listening.commit()
        listening.commit()
        listening.send(hearing.other_clip)
        listening.commit()
        await listening.final(4)
        assert listening.finals == [[], words(hearing.text), [], words(hearing.other_text)]
        await listening.close()

    async def test_interim_transcripts_restate_what_has_no_final_yet(self, hearing: Hearing) -> None:
        if not hearing.has_interims:
            pytest.skip("this recogniser reports finals only")
        listening = Listening.to(hearing)
        listening.send(hearing.clip)
        if not listening.interims:
            # Some providers tell interim words only while the commit is being answered.
            listening.commit()
        await listening.final(1)
        assert listening.interims
        assert set(words(listening.interims[-1])) <= set(words(hearing.text))
        first_ones = len(listening.interims)
        listening.send(hearing.other_clip)
        listening.commit()
        await listening.final(2)
        later = [word for text in listening.interims[first_ones:] for word in words(text)]
        assert set(later) <= set(words(hearing.other_text))
        await listening.close()

    async def test_nothing_is_reported_after_close(self, hearing: Hearing) -> None:
        listening = Listening.to(hearing)
        listening.send(hearing.clip)
        listening.commit()
        await listening.close()
        await listening.close()
        reports = list(listening.reports)
        listening.send(hearing.clip)
        listening.commit()
        await asyncio.sleep(0.05)
        assert listening.reports == reports
        assert not listening.lost

    async def test_streams_are_independent(self, hearing: Hearing) -> None:
        one, other = Listening.to(hearing), Listening.to(hearing)
        one.send(hearing.clip)
        other.send(hearing.other_clip)
        one.commit()
        await one.close()
        other.commit()
        await other.final(1)
        assert other.finals == [words(hearing.other_text)]
        await other.close()
