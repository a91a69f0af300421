import os
import random
import threading
from array import array
from collections.abc import Iterator

import msgspec
import pytest

from voice_agent.agents.files import LIBRARY, load_dialogue
from voice_agent.audio import mulaw
from voice_agent.integrations.local.espeak import EspeakSynthesiser
from voice_agent.integrations.local.grammar import Grammar, from_dialogue
from voice_agent.integrations.local.recognition_protocol import Frame, FrameReader, Kind, pack
from voice_agent.integrations.local.recognition_worker import Ear, GrammarRefused, Recogniser, Worker, serve

GRAMMAR = from_dialogue(load_dialogue(LIBRARY / "harbour_dental.dialogue.yaml"))
VOICES = ("en-us+adam", "en-us+Reed", "en-us+f5")
BOOKING = [
    "hello i would like to book an appointment please",
    "how much does a check up cost",
    "on tuesday please",
    "i would prefer the morning",
    "at half past nine please",
    "my name is daniel brown",
    "no that's all thank you",
]


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear(GRAMMAR)


@pytest.fixture
def recogniser(ear: Ear) -> Iterator[Recogniser]:
    recogniser = Recogniser(ear)
    yield recogniser
    recogniser.close()


def speech(text: str, voice: str = VOICES[0]) -> bytes:
    return EspeakSynthesiser().clip(text, "en", voice)


def heard(recogniser: Recogniser, audio: bytes) -> list[str]:
    """Send 60 ms at a time; return the interim texts."""
    texts = (recogniser.hear(audio[at : at + 480]) for at in range(0, len(audio), 480))
    return [text for text in texts if text is not None]


def quiet(length_ms: int) -> bytes:
    return mulaw.silence(length_ms * mulaw.BYTES_PER_MS)


def burst(length_ms: int, peak: int = 6_000) -> bytes:
    """Return noise that dies away: what a cough or a door is to a recogniser."""
    chance = random.Random(1)
    samples = length_ms * mulaw.BYTES_PER_MS
    return mulaw.encode(
        array("h", (round(chance.uniform(-peak, peak) * (1 - at / samples) ** 3) for at in range(samples))).tobytes()
    )


@pytest.mark.parametrize("voice", VOICES)
def test_the_demos_phrases_are_recognised(recogniser: Recogniser, voice: str) -> None:
    finals = []
    for text in BOOKING:
        heard(recogniser, quiet(400) + speech(text, voice) + quiet(200))
        finals.append(recogniser.commit())

    assert finals == BOOKING


def test_words_are_known_before_the_end(recogniser: Recogniser) -> None:
    interims = heard(recogniser, speech(BOOKING[0]) + quiet(100))

    assert len(interims) >= 4
    assert any("book an" in text for text in interims)
    assert recogniser.commit() == BOOKING[0]


def test_silence_is_no_words_and_no_work(recogniser: Recogniser) -> None:
    assert heard(recogniser, quiet(30_000)) == []
    assert recogniser.commit() == ""
    assert recogniser.commit() == ""


@pytest.mark.parametrize("length_ms", [150, 300, 500])
def test_a_cough_is_no_words(recogniser: Recogniser, length_ms: int) -> None:
    heard(recogniser, quiet(300) + burst(length_ms) + quiet(300))

    assert recogniser.commit() == ""


def test_other_words_than_the_grammars_are_mostly_no_words(recogniser: Recogniser) -> None:
    finals = []
    for text in (
        "the train to manchester was delayed again this morning",
        "my cat likes to sleep on the sofa",
        "please turn the volume of the television down",
        "two large pizzas with extra cheese",
        "what a wonderful world",
    ):
        heard(recogniser, speech(text) + quiet(200))
        finals.append(recogniser.commit())

    assert finals.count("") >= 4


def test_a_noise_long_before_an_utterance_is_forgotten(recogniser: Recogniser) -> None:
    heard(recogniser, burst(400) + quiet(3_000) + speech(BOOKING[0]) + quiet(200))

    assert recogniser.commit() == BOOKING[0]


def test_an_endless_sound_begins_anew(recogniser: Recogniser) -> None:
    heard(recogniser, (burst(500, 2_000) * 42) + quiet(2_000) + speech(BOOKING[2]) + quiet(200))

    assert recogniser.commit() == BOOKING[2]


def test_a_word_that_nobody_can_pronounce_is_named() -> None:
    unknown = msgspec.structs.replace(GRAMMAR, pronunciations=())

    with pytest.raises(GrammarRefused, match="lack toothache"):
        Ear(unknown)


def test_streams_of_one_worker_are_independent() -> None:
    worker = Worker(GRAMMAR)
    one, other = speech(BOOKING[2]), speech(BOOKING[4])
    for at in range(0, max(len(one), len(other)), 640):
        worker.answer(Frame(Kind.AUDIO, 1, one[at : at + 640]))
        worker.answer(Frame(Kind.AUDIO, 2, other[at : at + 640]))

    assert worker.answer(Frame(Kind.COMMIT, 1, b"")) == pack(Kind.FINAL, 1, BOOKING[2].encode())
    assert worker.answer(Frame(Kind.CLOSE, 1, b"")) == b""
    assert worker.answer(Frame(Kind.CLOSE, 1, b"")) == b""
    assert worker.answer(Frame(Kind.COMMIT, 2, b"")) == pack(Kind.FINAL, 2, BOOKING[4].encode())


def served(frames: bytes) -> list[Frame]:
    """Return what the process answers until its input ends."""
    source, sending = os.pipe()
    receiving, target = os.pipe()

    def run() -> None:
        serve(source, target)
        os.close(target)

    thread = threading.Thread(target=run)
    thread.start()
    os.write(sending, frames)
    os.close(sending)
    answers = b""
    while received := os.read(receiving, 65_536):
        answers += received
    thread.join()
    os.close(source)
    os.close(receiving)
    return list(FrameReader().feed(answers))


def test_the_process_serves_until_its_input_ends() -> None:
    grammar = pack(Kind.GRAMMAR, payload=msgspec.msgpack.encode(GRAMMAR))

    answers = served(grammar + pack(Kind.AUDIO, 7, speech(BOOKING[2])) + pack(Kind.COMMIT, 7))

    assert answers[0] == Frame(Kind.READY, 0, b"")
    assert answers[-1] == Frame(Kind.FINAL, 7, BOOKING[2].encode())
    assert {frame.kind for frame in answers[1:-1]} <= {Kind.INTERIM}


def test_the_process_refuses_a_grammar_it_cannot_use() -> None:
    unknown: Grammar = msgspec.structs.replace(GRAMMAR, pronunciations=())

    answers = served(pack(Kind.GRAMMAR, payload=msgspec.msgpack.encode(unknown)))

    assert [frame.kind for frame in answers] == [Kind.REFUSED]
    assert b"toothache" in answers[0].payload
