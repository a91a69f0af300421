"""Speech recognition that hears what the test says it hears."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from voice_agent.errors import ProviderError
from voice_agent.pipeline.ports import FinalTranscript, InterimTranscript, Transcript, TranscriptionLost


class FakeTranscriptionStream:
    """What was sent to it, and the transcripts that the test lets it report."""

    def __init__(self, language: str, on_transcript: Callable[[Transcript], None], answers: deque[str]) -> None:
        self.language = language
        self.audio = bytearray()
        self.commits = 0
        self.is_closed = False
        self._on_transcript = on_transcript
        self._answers = answers

    def send(self, mulaw: bytes) -> None:
        self.audio += mulaw

    def commit(self) -> None:
        self.commits += 1
        if self._answers:
            asyncio.get_running_loop().call_soon(self.final, self._answers.popleft())

    async def close(self) -> None:
        self.is_closed = True

    def interim(self, text: str) -> None:
        """Report an interim transcript, unless closed."""
        self._report(InterimTranscript(text))

    def final(self, text: str) -> None:
        """Report a final transcript, unless closed."""
        self._report(FinalTranscript(text))

    def lose(self, error: ProviderError) -> None:
        """Report that recognition is gone."""
        self._report(TranscriptionLost(error))

    def _report(self, transcript: Transcript) -> None:
        if not self.is_closed:
            self._on_transcript(transcript)


class FakeSpeechToText:
    """`answers`: final transcripts for the coming commits, in order, over all streams."""

    def __init__(self, answers: Iterable[str] = ()) -> None:
        self.streams: list[FakeTranscriptionStream] = []
        self.answers = deque(answers)

    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> FakeTranscriptionStream:
        self.streams.append(FakeTranscriptionStream(language, on_transcript, self.answers))
        return self.streams[-1]
