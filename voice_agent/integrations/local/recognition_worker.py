"""Speech recognition by pocketsphinx, as a process of its own: `python -m` this module, frames on stdin and stdout.

A process, because pocketsphinx holds the interpreter's lock while it works (measured: up to 2 s). It ends with its
input, so it never outlives the server. One process serves a few calls, one after the other frame by frame.

How one utterance is recognised:

1. Nothing is decoded while the line is quiet; what was quiet just before a voice is kept and decoded with it.
2. Two decoders listen: one knows the grammar, the other any sequence of phonemes. Where phonemes fit much better than
   the grammar, what was said is not in the grammar: a cough, or other words. Then the text is empty.
3. The model was trained on 16 kHz speech in ordinary rooms. Telephone audio is up-sampled, and a little noise is added:
   without it the digital silence of a clean line doubles the errors.

Not here: any language but English; speech without a grammar (the open model takes up to 0.6 of real time and gets 35 to
75 of 100 words wrong on the telephone).
"""

import importlib
import math
import os
import random
import warnings
from array import array
from collections import Counter
from typing import Protocol

import msgspec

from voice_agent.audio import mulaw
from voice_agent.audio.resample import Upsampler
from voice_agent.integrations.local.grammar import Grammar
from voice_agent.integrations.local.recognition_protocol import Frame, FrameReader, Kind, pack

with warnings.catch_warnings():
    # 3.11 and 3.12 announce the removal of audioop in 3.13, where audioop-lts takes its name.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

VOICED_RMS = 150
"""Of 32,768 (-47 dBFS): the quietest telephone speech; a quiet line is below 100."""

PREROLL_MS = 300
HANGOVER_MS = 400
"""Quiet audio that is decoded before and after what is voiced: unvoiced consonants, gaps between words."""

FORGET_MS = 1_500
"""Quiet for so long without a commit, what was heard was no utterance: the commit of one comes after 200 ms."""

LONGEST_MS = 20_000
"""An utterance without end is music: it begins anew."""

INTERIM_MS = 160
BLOCK_MS = 40
_BLOCK_BYTES = BLOCK_MS * mulaw.BYTES_PER_MS
_ENDING_BYTES = 100 * mulaw.BYTES_PER_MS

REJECTED_BELOW = -3.5
REJECTED_BELOW_SHORT = 0.0
SHORT_WORDS = 2
"""Grammar against phonemes, in ten thousandths of a nat of pocketsphinx's scaled score a frame. Measured on the demo's
phrases by synthetic voices, of which 9 in 10 that are recognised right are kept, and on sentences that are not in the
grammar, of which 15 in 20 are rejected. Texts of one or two words must fit better: coughs and knocks are heard as
"bye" or "uh huh" at -0.7 and less, those words when said at 2 and more."""

_NOISE_RMS = 50
_DIGIT_WEIGHT = 1e-4
"""How much less likely than other words those of a repeated slot are; without it "great" is heard as "three eight"."""

_LANGUAGE_WEIGHT = 3.0
_PHONEMES = "en-us/en-us-phone.lm.bin"


Transition = tuple[int, int, float, str] | tuple[int, int, float]
"""(from, to, probability, word), or without a word."""


class GrammarRefused(Exception):
    """The grammar has words that nobody knows how to pronounce."""


class Hypothesis(Protocol):
    """pocketsphinx.Hypothesis."""

    hypstr: str
    score: float


class Decoder(Protocol):
    """pocketsphinx.Decoder, the part that is used."""

    def start_utt(self) -> None:
        """Begin an utterance."""
        ...

    def process_raw(self, pcm16: bytes, no_search: bool, full_utt: bool) -> int:
        """Hear int16 PCM at 16,000 Hz."""
        ...

    def end_utt(self) -> None:
        """End the utterance."""
        ...

    def hyp(self) -> Hypothesis | None:
        """Return the best words so far, None where there are none."""
        ...

    def n_frames(self) -> int:
        """Return how many frames of 10 ms the utterance has."""
        ...

    def get_cmn(self, update: bool) -> str:
        """Return the mean that is subtracted from features."""
        ...

    def set_cmn(self, cepstral_mean: str) -> None:
        """Set it, as `get_cmn` wrote it."""
        ...

    def lookup_word(self, word: str) -> str | None:
        """Return a word's phonemes."""
        ...

    def add_word(self, word: str, phonemes: str, update: bool) -> int:
        """Add a word to the dictionary."""
        ...

    def create_fsg(self, name: str, start: int, final: int, transitions: list[Transition]) -> object:
        """Return a grammar."""
        ...

    def add_fsg(self, name: str, fsg: object) -> None:
        """Load a grammar."""
        ...

    def activate_search(self, name: str) -> None:
        """Use a loaded grammar."""
        ...


class Ear:
    """A pair of decoders, ready for one utterance after another. Loading takes 0.4 s and 60 MB."""

    def __init__(self, grammar: Grammar) -> None:
        """Raises GrammarRefused."""
        self._grammar = _grammar_decoder(grammar)
        self._phonemes = _phoneme_decoder()
        self._decoders = (self._grammar, self._phonemes)
        self._cepstral_mean = self._grammar.get_cmn(False)
        self._upsampler = Upsampler()

    def reset(self) -> None:
        """Forget the voice and the line that the decoders have adapted to: another caller follows."""
        for decoder in self._decoders:
            decoder.set_cmn(self._cepstral_mean)

    def begin(self) -> None:
        """Begin an utterance."""
        self._upsampler = Upsampler()
        for decoder in self._decoders:
            decoder.start_utt()

    def hear(self, audio: bytes) -> None:
        """Hear more mu-law of the utterance."""
        pcm16 = self._upsampler.feed(audio)
        noise = _NOISE * (len(pcm16) // len(_NOISE) + 1)
        noisy = audioop.add(pcm16, noise[: len(pcm16)], 2)
        for decoder in self._decoders:
            decoder.process_raw(noisy, False, False)

    def end(self) -> None:
        """End the utterance; `text` has its words until the next one begins."""
        for decoder in self._decoders:
            decoder.end_utt()

    def text(self) -> str:
        """Return the words of the utterance so far; empty where they are not the grammar's."""
        words, phonemes = self._grammar.hyp(), self._phonemes.hyp()
        if words is None or not words.hypstr:
            return ""
        is_short = len(words.hypstr.split()) <= SHORT_WORDS
        least = REJECTED_BELOW_SHORT if is_short else REJECTED_BELOW
        if phonemes is not None and _fit(words, phonemes, self._grammar.n_frames()) < least:
            return ""
        return words.hypstr


def _fit(words: Hypothesis, phonemes: Hypothesis, frames: int) -> float:
    if words.score <= 0.0 or phonemes.score <= 0.0:
        # Underflow: too long an utterance to be compared.
        return 0.0
    return 10_000 * math.log(words.score / phonemes.score) / max(frames, 1)


def _grammar_decoder(grammar: Grammar) -> Decoder:
    decoder: Decoder = importlib.import_module("pocketsphinx").Decoder(
        lm=None, lw=_LANGUAGE_WEIGHT, bestpath=False, loglevel="FATAL"
    )
    for word, phonemes in grammar.pronunciations:
        decoder.add_word(_free_name(decoder, word), phonemes, False)
    if unknown := sorted(word for word in grammar.words() if decoder.lookup_word(word) is None):
        raise GrammarRefused(f"the dialogue's `pronunciations` lack {', '.join(unknown)}")
    states = 1 + max((max(state, target) for state, target, _ in grammar.automaton.transitions), default=0)
    decoder.add_fsg("dialogue", decoder.create_fsg("dialogue", 0, states, _transitions(grammar, states)))
    decoder.activate_search("dialogue")
    return decoder


def _free_name(decoder: Decoder, word: str) -> str:
    """Return how the dictionary names the next pronunciation of a word: uh, uh(2), uh(3)."""
    name, number = word, 1
    while decoder.lookup_word(name) is not None:
        number += 1
        name = f"{word}({number})"
    return name


def _transitions(grammar: Grammar, end: int) -> list[Transition]:
    automaton = grammar.automaton
    choices = Counter(state for state, _, _ in automaton.transitions)
    transitions: list[Transition] = [
        (state, target, (_DIGIT_WEIGHT if word in grammar.repeated_words else 1.0) / choices[state], word)
        for state, target, word in automaton.transitions
    ]
    # The library knows one accepting state, which the others reach without a word.
    return transitions + [(state, end, 1.0) for state in automaton.accepting]


def _phoneme_decoder() -> Decoder:
    sphinx = importlib.import_module("pocketsphinx")
    decoder: Decoder = sphinx.Decoder(
        lm=None, allphone=sphinx.get_model_path(_PHONEMES), bestpath=False, loglevel="FATAL"
    )
    return decoder


def _noise(samples: int) -> bytes:
    """Return white noise, the same each time: what is recognised must not depend on chance."""
    chance = random.Random(0)
    return array("h", (round(chance.gauss(0.0, _NOISE_RMS)) for _ in range(samples))).tobytes()


_NOISE = _noise(16_000)


class Recogniser:
    """One stream: audio in, interim and final texts out. Its ear listens to what is voiced."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._waiting = bytearray()
        """Not yet a whole block."""
        self._quiet = bytearray()
        """The latest quiet audio that was not decoded."""
        self._quiet_ms = 0
        self._heard_ms = 0
        """Decoded of the utterance; 0 where none has begun."""
        self._interim_at_ms = 0
        self._interim = ""

    def hear(self, audio: bytes) -> str | None:
        """Hear more of the caller. Returns the interim text where it has changed."""
        self._waiting += audio
        whole = len(self._waiting) - len(self._waiting) % _BLOCK_BYTES
        for start in range(0, whole, _BLOCK_BYTES):
            self._hear_block(bytes(self._waiting[start : start + _BLOCK_BYTES]))
        del self._waiting[:whole]
        if self._heard_ms < self._interim_at_ms + INTERIM_MS:
            return None
        self._interim_at_ms = self._heard_ms
        before, self._interim = self._interim, self._ear.text()
        return self._interim if self._interim != before else None

    def commit(self) -> str:
        """Return the text of everything heard since the last commit."""
        if self._waiting:
            self._hear_block(bytes(self._waiting))
            self._waiting.clear()
        if not self._heard_ms:
            return ""
        # The last word must have ended for the grammar to be complete.
        self._ear.hear(bytes(self._quiet) + mulaw.silence(_ENDING_BYTES))
        self._end()
        return self._ear.text()

    def close(self) -> Ear:
        """Return the ear for another stream."""
        if self._heard_ms:
            self._end()
        self._ear.reset()
        return self._ear

    def _hear_block(self, block: bytes) -> None:
        if mulaw.rms(mulaw.decode(block)) >= VOICED_RMS:
            self._quiet_ms = 0
            self._decode(bytes(self._quiet) + block)
            self._quiet.clear()
            return
        self._quiet_ms += BLOCK_MS
        if self._heard_ms and self._quiet_ms <= HANGOVER_MS:
            self._decode(block)
            return
        self._quiet += block
        del self._quiet[: -PREROLL_MS * mulaw.BYTES_PER_MS]
        if self._heard_ms and self._quiet_ms >= FORGET_MS:
            self._end()

    def _decode(self, audio: bytes) -> None:
        if self._heard_ms >= LONGEST_MS:
            self._end()
        if not self._heard_ms:
            self._ear.begin()
        self._ear.hear(audio)
        self._heard_ms += len(audio) // mulaw.BYTES_PER_MS

    def _end(self) -> None:
        self._ear.end()
        self._heard_ms = self._interim_at_ms = 0
        self._interim = ""


class Worker:
    """Frames in, frames out: all streams of the process."""

    def __init__(self, grammar: Grammar) -> None:
        """Raises GrammarRefused."""
        self._grammar = grammar
        self._ears = [Ear(grammar)]
        """Loaded and not in use. There is always one to begin with, so that a first call does not wait."""
        self._streams: dict[int, Recogniser] = {}

    def answer(self, frame: Frame) -> bytes:
        """Return the frames that answer one frame, possibly none."""
        if frame.kind is Kind.CLOSE:
            if stream := self._streams.pop(frame.stream, None):
                self._ears.append(stream.close())
            return b""
        if frame.stream not in self._streams:
            self._streams[frame.stream] = Recogniser(self._ears.pop() if self._ears else Ear(self._grammar))
        stream = self._streams[frame.stream]
        if frame.kind is Kind.COMMIT:
            return pack(Kind.FINAL, frame.stream, stream.commit().encode())
        interim = stream.hear(frame.payload)
        return b"" if interim is None else pack(Kind.INTERIM, frame.stream, interim.encode())


def serve(source: int, target: int) -> None:
    """Answer the frames of one file descriptor on another, until the first one ends."""
    reader = FrameReader()
    worker: Worker | None = None
    while received := os.read(source, 65_536):
        for frame in reader.feed(received):
            if worker is not None:
                _write(target, worker.answer(frame))
                continue
            try:
                worker = Worker(msgspec.msgpack.decode(frame.payload, type=Grammar))
            except GrammarRefused as error:
                _write(target, pack(Kind.REFUSED, payload=str(error).encode()))
                return
            _write(target, pack(Kind.READY))


def _write(target: int, frames: bytes) -> None:
    while frames:
        frames = frames[os.write(target, frames) :]


if __name__ == "__main__":
    serve(0, 1)
