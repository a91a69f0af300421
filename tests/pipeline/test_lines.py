"""Fixed lines: made once, shared through the cache, never waited for in a call."""

import asyncio

import pytest

from tests.contracts.eventually import eventually
from tests.fakes.text_to_speech import FakeTextToSpeech, tone
from voice_agent.errors import ProviderRefused
from voice_agent.pipeline import lines
from voice_agent.pipeline.lines import LineBook
from voice_agent.pipeline.ports import Voice, Word
from voice_agent.storage.cache import InProcessCache

VOICE = Voice("v", language="en")


def _cache() -> InProcessCache:
    return InProcessCache(clock=lambda: 0.0)


async def test_a_prepared_line_is_found_with_its_words() -> None:
    book = LineBook(FakeTextToSpeech(ms_per_char=10), VOICE, _cache(), provider="fake")
    await book.prepare(["Good day.", "", "Good day."])
    line = book.find("Good day.")
    assert line is not None
    assert line.mulaw == tone(90)
    assert line.words == (Word("Good ", 0.0, 50.0), Word("day.", 50.0, 90.0))
    assert book.find("Good night.") is None
    assert book.find("") is None


async def test_a_line_is_synthesised_once_for_all_processes_with_the_same_voice() -> None:
    cache = _cache()
    first, second, other = FakeTextToSpeech(), FakeTextToSpeech(), FakeTextToSpeech()
    await LineBook(first, VOICE, cache, provider="fake").prepare(["Hello."])
    book = LineBook(second, VOICE, cache, provider="fake")
    await book.prepare(["Hello."])
    await LineBook(other, Voice("v", speed=1.1), cache, provider="fake").prepare(["Hello."])
    assert (len(first.streams), len(second.streams), len(other.streams)) == (1, 0, 1)
    assert book.find("Hello.") is not None


async def test_every_stream_is_closed_again() -> None:
    tts = FakeTextToSpeech()
    await LineBook(tts, VOICE, _cache(), provider="fake").prepare(["Hello.", "Goodbye."])
    assert [stream.is_closed for stream in tts.streams] == [True, True]


async def test_a_line_that_cannot_be_made_is_left_to_the_live_voice_and_the_others_are_made() -> None:
    tts = FakeTextToSpeech(is_automatic=False)
    book = LineBook(tts, VOICE, _cache(), provider="fake")
    task = asyncio.create_task(book.prepare(["Hello.", "Goodbye."]))
    await eventually(lambda: tts.streams)
    tts.streams[0].fail(1, ProviderRefused("fake", "voice"))
    await eventually(lambda: len(tts.streams) == 2)
    tts.streams[1].sound(1, "Goodbye.")
    tts.streams[1].complete(1)
    await task
    assert book.find("Hello.") is None
    assert book.find("Goodbye.") is not None
    assert all(stream.is_closed for stream in tts.streams)


async def test_a_synthesiser_that_says_nothing_does_not_hold_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SYNTHESIS_TIMEOUT_S", 0.01)
    tts = FakeTextToSpeech(is_automatic=False)
    book = LineBook(tts, VOICE, _cache(), provider="fake")
    await book.prepare(["Hello."])
    assert book.find("Hello.") is None
    assert tts.streams[0].is_closed


async def test_what_another_version_left_in_the_cache_is_made_again() -> None:
    cache = _cache()
    await LineBook(FakeTextToSpeech(), VOICE, cache, provider="fake").prepare(["Hello."])
    for key in list(cache._entries):
        await cache.put(key, b"\x93 no line")
    tts = FakeTextToSpeech()
    book = LineBook(tts, VOICE, cache, provider="fake")
    await book.prepare(["Hello."])
    assert len(tts.streams) == 1
    assert book.find("Hello.") is not None


async def test_what_one_call_says_is_not_kept_for_the_others() -> None:
    now_s = [0.0]
    tts, cache = FakeTextToSpeech(), InProcessCache(clock=lambda: now_s[0])
    shared = LineBook(tts, VOICE, cache, provider="fake")
    await shared.prepare(["Goodbye."])
    own = shared.for_one_call()
    await own.prepare(["Hello Ana.", "Goodbye."])

    assert len(tts.streams) == 2
    assert own.find("Hello Ana.") is not None
    assert own.find("Goodbye.") is shared.find("Goodbye.") is not None
    assert own.find("Hm.") is None
    assert shared.find("Hello Ana.") is None

    await shared.for_one_call().prepare(["Hello Ana."])
    assert len(tts.streams) == 2  # prepared while the telephone rang: the call itself finds it
    now_s[0] = lines.KEPT_FOR_ONE_CALL_S + 1.0
    await shared.for_one_call().prepare(["Hello Ana."])
    assert len(tts.streams) == 3
