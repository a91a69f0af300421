"""What the caller has said since the agent last had the turn. Pure bookkeeping, owned by the turn machine."""

from voice_agent.pipeline.endpointing import has_words, is_backchannel, normalised


class Utterance:
    """The words, and the sound, of one turn of the caller.

    A segment is what lies between two commits of the transcript. Final transcripts answer commits in their order;
    the interim one restates everything since the last final.
    """

    __slots__ = ("_finals", "_interim", "began_at", "committed_at", "ended_at", "keys", "pending", "voiced")

    def __init__(self) -> None:
        self._finals: list[str] = []
        self._interim = ""
        self.began_at: float | None = None
        """Seconds; the first sample of speech, None before any."""

        self.ended_at = 0.0
        """Seconds; the last sample of speech, valid in a pause."""

        self.voiced = False
        """Whether VoiceConfirmed came for some of it."""

        self.keys = ""
        """Keys pressed in it, in order."""

        self.pending = 0
        """Commits without their final transcript yet."""

        self.committed_at: float | None = None
        """Seconds; the commit of the last pause, None while it has not been sent."""

    @property
    def text(self) -> str:
        """Everything said so far, finals and interim joined, and the keys pressed after it."""
        keys = f"[keypad] {self.keys}" if self.keys else ""
        return " ".join(part for part in (*self._finals, self._interim, keys) if part)

    @property
    def has_words(self) -> bool:
        """Whether anything was recognised."""
        return has_words(self.text)

    @property
    def fingerprint(self) -> str:
        """The text without case, punctuation and spacing: equal fingerprints deserve the same reply."""
        return normalised(self.text)

    @property
    def duration_s(self) -> float:
        """From the first to the last sample of speech, in seconds."""
        return 0.0 if self.began_at is None else max(0.0, self.ended_at - self.began_at)

    def is_backchannel(self, language: str) -> bool:
        """Whether all of it only says "go on": a backchannel, or nothing; or may yet, while its end is interim."""
        return not self.has_words or is_backchannel(self.text, language, is_interim=bool(self._interim))

    def begin(self, began_at: float) -> None:
        """Note the start of a stretch of speech; a commit of the pause before is history."""
        if self.began_at is None:
            self.began_at = began_at
        self.committed_at = None

    def prepend(self, words: str) -> None:
        """Put words of an earlier turn, taken back, before these."""
        self._finals.insert(0, words)

    def commit(self, at: float) -> None:
        """Note that a final transcript was asked for."""
        self.pending += 1
        self.committed_at = at

    def update(self, interim: str) -> bool:
        """Take an interim transcript; return whether the words have changed."""
        before = self.fingerprint
        self._interim = interim.strip()
        return self.fingerprint != before

    def settle(self, final: str) -> None:
        """Take a final transcript. An empty one keeps the interim words: recognised words are never lost."""
        self.pending = max(0, self.pending - 1)
        self._finals.append(final.strip() or self._interim)
        self._interim = ""
