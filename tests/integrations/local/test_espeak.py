import asyncio
import sys
from collections.abc import AsyncIterator

import numpy
import pytest

from tests.contracts.text_to_speech import Speaking, TextToSpeechContract, until
from tests.fakes.text_to_speech import RecordingListener
from voice_agent.audio import mulaw
from voice_agent.errors import ProviderRefused
from voice_agent.integrations.local import espeak
from voice_agent.integrations.local.espeak import EspeakSynthesiser, EspeakTextToSpeech
from voice_agent.pipeline.ports import Voice, Word


@pytest.fixture
async def tts() -> AsyncIterator[EspeakTextToSpeech]:
    port = EspeakTextToSpeech()
    yield port
    await port.close()


async def finished(listener: RecordingListener) -> None:
    await until(listener, lambda: listener.finished == [1])


def pitch_hz(audio: bytes) -> float:
    """Return how often the strongest period of a voice between 70 and 300 Hz repeats."""
    samples = numpy.frombuffer(mulaw.decode(audio), "<i2").astype(float)
    power = numpy.abs(numpy.fft.rfft(samples, 2 * len(samples))) ** 2
    correlation = numpy.fft.irfft(power)
    periods = numpy.arange(mulaw.RATE_HZ // 300, mulaw.RATE_HZ // 70)
    return float(mulaw.RATE_HZ / periods[numpy.argmax(correlation[periods])])


class Heard:
    """Takes everything."""

    def __init__(self) -> None:
        self.pcm16 = b""

    def take(self, pcm16: bytes, _: list[tuple[int, float]]) -> bool:
        self.pcm16 += pcm16
        return True


class TestContract(TextToSpeechContract):
    @pytest.fixture
    def speaking(self, tts: EspeakTextToSpeech) -> Speaking:
        return Speaking(port=tts, voice=Voice(voice_id="en-us+f3"))


class ChunkListener(RecordingListener):
    """Keeps the length of each piece of audio."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks_ms: list[float] = []

    def on_audio(self, turn: int, mulaw_audio: bytes, words: tuple[Word, ...]) -> None:
        self.chunks_ms.append(mulaw.duration_ms(len(mulaw_audio)))
        super().on_audio(turn, mulaw_audio, words)


async def test_the_first_audio_comes_in_a_short_piece_and_the_rest_in_longer_ones(tts: EspeakTextToSpeech) -> None:
    listener = ChunkListener()
    stream = tts.open(voice=Voice(voice_id=""), listener=listener)
    stream.speak(1, "We are open from Monday to Friday, from half past eight until six.")
    stream.finish(1)
    await finished(listener)

    first, *middle, _ = listener.chunks_ms
    assert 100 <= first < 200
    assert all(200 <= length < 300 for length in middle)
    await stream.close()


async def test_sentences_of_a_turn_are_separated_by_a_pause(tts: EspeakTextToSpeech) -> None:
    lengths_ms = []
    for texts in (("One moment. ", "Please wait."), ("One moment. ",), ("Please wait.",)):
        listener = ChunkListener()
        stream = tts.open(voice=Voice(voice_id=""), listener=listener)
        for text in texts:
            stream.speak(1, text)
        stream.finish(1)
        await finished(listener)
        lengths_ms.append(sum(listener.chunks_ms))
        await stream.close()

    both, one, other = lengths_ms
    assert both - one - other == pytest.approx(espeak.SENTENCE_PAUSE_MS, abs=1)


async def test_a_word_is_loud_where_it_is_said_to_be(tts: EspeakTextToSpeech) -> None:
    listener = RecordingListener()
    stream = tts.open(voice=Voice(voice_id=""), listener=listener)
    stream.speak(1, "Hello. ")
    stream.speak(1, "Goodbye.")
    stream.finish(1)
    await finished(listener)

    hello, goodbye = listener.words[1]
    pcm16 = mulaw.decode(bytes(listener.audio[1]))
    assert goodbye.start_ms - hello.end_ms == pytest.approx(espeak.SENTENCE_PAUSE_MS, abs=1)
    pause = pcm16[int(hello.end_ms) * 16 : int(goodbye.start_ms) * 16]
    for word in (hello, goodbye):
        assert mulaw.rms(pcm16[int(word.start_ms) * 16 : int(word.end_ms) * 16]) > 10 * mulaw.rms(pause)
    await stream.close()


async def test_an_unknown_voice_fails_the_turn_once_and_not_the_stream(tts: EspeakTextToSpeech) -> None:
    listener = RecordingListener()
    stream = tts.open(voice=Voice(voice_id="21m00Tcm4TlvDq8ikWAM"), listener=listener)
    stream.speak(1, "Hello. ")
    await until(listener, lambda: bool(listener.failures))
    stream.speak(1, "Are you there? ")
    stream.finish(1)
    stream.speak(2, "Hello.")
    await until(listener, lambda: len(listener.failures) == 2)

    assert [turn for turn, _ in listener.failures] == [1, 2]
    assert "there is no voice '21m00Tcm4TlvDq8ikWAM'" in str(listener.failures[0][1])
    assert listener.finished == []
    await stream.close()


async def test_calls_share_the_library_without_mixing_their_voices(tts: EspeakTextToSpeech) -> None:
    listeners = [RecordingListener() for _ in range(6)]
    streams = [
        tts.open(voice=Voice(voice_id=voice), listener=listener)
        for voice, listener in zip(["en-us", "en-us+f3"] * 3, listeners, strict=True)
    ]
    for stream in streams:
        stream.speak(1, "The same words by two voices.")
        stream.finish(1)
    for listener in listeners:
        await finished(listener)

    assert {listener.text(1) for listener in listeners} == {"The same words by two voices."}
    pitches_hz = [pitch_hz(bytes(listener.audio[1])) for listener in listeners]
    assert max(pitches_hz[0::2]) < min(pitches_hz[1::2])
    await asyncio.gather(*(stream.close() for stream in streams))


@pytest.mark.parametrize(("language", "voice"), [("en", ""), ("en", "en-gb"), ("en", "en-GB+m3"), ("es", "es+f2")])
def test_a_clip_is_speech_without_long_silence_at_its_ends(language: str, voice: str) -> None:
    clip = EspeakSynthesiser().clip("Hola, uno dos tres.", language, voice)
    pcm16 = mulaw.decode(clip)

    assert 800 < mulaw.duration_ms(len(clip)) < 4_000
    assert mulaw.rms(pcm16) > 500
    assert mulaw.rms(pcm16[: 200 * 16]) > 100
    assert mulaw.rms(pcm16[-200 * 16 :]) > 100


def test_speed_changes_the_length() -> None:
    synthesiser = EspeakSynthesiser()
    lengths = []
    for speed in (0.7, 1.0, 1.2):
        heard = Heard()
        synthesiser.synthesise("How can I help you today?", Voice(voice_id="", speed=speed), heard.take)
        lengths.append(len(heard.pcm16))

    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 1.3 * lengths[2]


def test_a_sink_that_has_enough_stops_the_library() -> None:
    pieces: list[bytes] = []

    def take_one(pcm16: bytes, _: list[tuple[int, float]]) -> bool:
        pieces.append(pcm16)
        return False

    EspeakSynthesiser().synthesise("A long sentence. " * 20, Voice(voice_id=""), take_one)

    assert len(pieces) == 1


def test_a_nul_does_not_cut_the_text() -> None:
    synthesiser = EspeakSynthesiser()

    assert len(synthesiser.clip("one\0two three", "en")) > 1.5 * len(synthesiser.clip("one", "en"))


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._load.cache_clear()
    try:
        with pytest.raises(ProviderRefused, match=r"voice-agent\[local\]"):
            EspeakSynthesiser()
    finally:
        espeak._load.cache_clear()
