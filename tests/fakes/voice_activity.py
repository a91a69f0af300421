"""Voice activity as loud as the test says."""


class FakeVoiceActivityStream:
    """Returns `probability`, which the test sets, and counts frames."""

    def __init__(self) -> None:
        self.probability = 0.0
        self.frames = 0

    def process(self, pcm16: bytes) -> float:
        assert len(pcm16) == 320, "a frame is 160 int16 samples"
        self.frames += 1
        return self.probability


class FakeVoiceActivityDetector:
    """Keeps the streams it opened."""

    def __init__(self) -> None:
        self.streams: list[FakeVoiceActivityStream] = []

    def open(self) -> FakeVoiceActivityStream:
        self.streams.append(FakeVoiceActivityStream())
        return self.streams[-1]
