"""The contract of TextToSpeech."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.fakes.text_to_speech import RecordingListener
from voice_agent.audio.mulaw import decode, duration_ms, rms
from voice_agent.pipeline.ports import SynthesisStream, TextToSpeech, Voice

PATIENCE_S = 10.0

FIRST = "Good morning, how can I help? "
SECOND = "We are open until six. "


@dataclass
class Speaking:
    """An adapter and a voice it has."""

    port: TextToSpeech
    voice: Voice

    def open(self) -> tuple[SynthesisStream, RecordingListener]:
        listener = RecordingListener()
        return self.port.open(voice=self.voice, listener=listener), listener


async def until(listener: RecordingListener, condition: Callable[[], bool]) -> None:
    """Wait for what the stream reports to fulfil a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            listener.changed.clear()
            await listener.changed.wait()


class TextToSpeechContract:
    """Inherit it, and override `speaking`."""

    @pytest.fixture
    def speaking(self) -> Speaking:
        raise NotImplementedError("the test class of an adapter provides it")

    async def test_a_turn_is_audible_and_ends_once(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.speak(1, FIRST)
        stream.finish(1)
        await until(listener, lambda: listener.finished == [1])
        audio = bytes(listener.audio[1])
        assert 30 * len(FIRST) < duration_ms(len(audio)) < 200 * len(FIRST)
        assert rms(decode(audio)) > 200
        await stream.close()
        assert listener.finished == [1]
        assert listener.failures == []

    async def test_words_give_the_text_back_and_lie_within_the_audio(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.speak(1, FIRST)
        stream.speak(1, SECOND)
        stream.finish(1)
        await until(listener, lambda: listener.finished == [1])
        timed = listener.words[1]
        assert "".join(word.text for word in timed).split() == (FIRST + SECOND).split()
        assert [word.start_ms for word in timed] == sorted(word.start_ms for word in timed)
        assert all(word.start_ms <= word.end_ms for word in timed)
        assert timed[0].start_ms >= 0.0
        assert timed[-1].end_ms <= duration_ms(len(listener.audio[1])) + 100
        await stream.close()

    async def test_turns_do_not_mix(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.speak(1, FIRST)
        stream.speak(2, SECOND)
        stream.finish(2)
        stream.finish(1)
        await until(listener, lambda: sorted(listener.finished) == [1, 2])
        assert listener.text(1).split() == FIRST.split()
        assert listener.text(2).split() == SECOND.split()
        await stream.close()

    async def test_a_turn_without_text_ends_too(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.finish(1)
        await until(listener, lambda: listener.finished == [1])
        assert not listener.audio
        await stream.close()

    async def test_text_may_come_long_after_the_first_audio(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.speak(1, FIRST)
        await until(listener, lambda: bool(listener.audio))
        stream.speak(1, SECOND)
        stream.finish(1)
        await until(listener, lambda: listener.finished == [1])
        assert listener.text(1).split() == (FIRST + SECOND).split()
        await stream.close()

    async def test_after_cancel_nothing_is_reported_for_the_turn(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.speak(1, FIRST * 10)
        await until(listener, lambda: bool(listener.audio))
        stream.cancel(1)
        heard = bytes(listener.audio[1])
        stream.speak(1, FIRST)
        stream.finish(1)
        stream.speak(2, SECOND)
        stream.finish(2)
        await until(listener, lambda: 2 in listener.finished)
        assert bytes(listener.audio[1]) == heard
        assert listener.finished == [2]
        await stream.close()

    async def test_many_interruptions_in_a_row(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        for turn in range(1, 13):
            stream.speak(turn, FIRST)
            stream.cancel(turn)
        stream.speak(13, SECOND)
        stream.finish(13)
        await until(listener, lambda: listener.finished == [13])
        assert set(listener.audio) == {13}
        assert listener.failures == []
        await stream.close()

    async def test_unknown_turns_are_ignored(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.cancel(7)
        stream.speak(8, SECOND)
        stream.finish(8)
        await until(listener, lambda: listener.finished == [8])
        await stream.close()

    async def test_nothing_is_reported_after_close(self, speaking: Speaking) -> None:
        stream, listener = speaking.open()
        stream.speak(1, FIRST * 5)
        await stream.close()
        await stream.close()
        heard = {turn: bytes(audio) for turn, audio in listener.audio.items()}
        stream.speak(2, SECOND)
        stream.finish(2)
        await asyncio.sleep(0.05)
        assert {turn: bytes(audio) for turn, audio in listener.audio.items()} == heard
        assert listener.finished == []
        assert listener.failures == []
