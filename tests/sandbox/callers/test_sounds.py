from pathlib import Path

import numpy
import pytest

from tests.sandbox.callers.voices import tone, write_wav
from voice_agent.errors import ScenarioError
from voice_agent.sandbox.callers import sounds
from voice_agent.sandbox.callers.sounds import VOICE_DB, NoiseKind
from voice_agent.sandbox.carrier.sound_files import Samples


def level_db(samples: Samples) -> float:
    return float(20 * numpy.log10(numpy.sqrt(numpy.mean(numpy.square(samples)))))


@pytest.mark.parametrize("seed", range(5))
def test_coughs_differ_are_short_and_loud_at_once(seed: int) -> None:
    cough = sounds.cough(seed)
    assert 0.2 < len(cough) / 8_000 < 1.6
    assert numpy.max(numpy.abs(cough)) <= 1.6
    start, _ = sounds.audible_range(cough)
    assert start < 80
    assert not numpy.array_equal(cough[:1_000], sounds.cough(seed + 100)[:1_000])
    assert numpy.array_equal(cough, sounds.cough(seed))


def test_a_hum_is_low_and_its_pitch_rises() -> None:
    hum = sounds.hum()
    assert 0.35 < len(hum) / 8_000 < 0.65
    spectrum = numpy.square(numpy.abs(numpy.fft.rfft(hum)))
    frequency = numpy.fft.rfftfreq(len(hum), 1 / 8_000)
    assert spectrum[frequency < 600].sum() > 0.8 * spectrum.sum()
    second = hum[-1_800:]
    assert _crossings(second[900:]) > _crossings(second[:900])


def _crossings(samples: Samples) -> int:
    smooth = numpy.convolve(samples, numpy.ones(20) / 20, "same")
    return int(numpy.count_nonzero(numpy.diff(numpy.signbit(smooth))))


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_noise_has_the_level_it_was_asked_for(kind: NoiseKind) -> None:
    assert level_db(sounds.noise(kind, 2.0, level_db=-30.0)) == pytest.approx(-30.0, abs=0.2)


def test_clicks_are_short_and_apart() -> None:
    clicks = sounds.noise("clicks", 3.0, level_db=-25.0)
    audible = numpy.abs(clicks) > sounds.AUDIBLE
    assert 0 < audible.mean() < 0.3


def test_levels_are_those_of_the_audible_part() -> None:
    padded = numpy.concatenate([numpy.zeros(8_000, numpy.float32), tone(500)])
    assert level_db(sounds.at_level(padded, VOICE_DB)[8_000:]) == pytest.approx(VOICE_DB, abs=0.5)
    silent = numpy.zeros(100, numpy.float32)
    assert numpy.array_equal(sounds.at_level(silent, VOICE_DB), silent)


def test_trimming_joining_and_framing() -> None:
    sound = numpy.concatenate([numpy.zeros(500, numpy.float32), tone(100), numpy.zeros(77, numpy.float32)])
    trimmed = sounds.trimmed(sound)
    assert 790 < len(trimmed) <= 800
    assert len(sounds.joined([trimmed, trimmed], 100)) == 2 * len(trimmed) + 800
    assert len(sounds.framed(trimmed)) == 800
    assert sounds.audible_range(numpy.zeros(10, numpy.float32)) == (0, 0)


def test_a_sound_is_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    write_wav(tmp_path / "hello.wav", (tone(100) * 32_767).astype("<i2"), rate_hz=8_000)
    assert len(sounds.load_sound("hello.wav", folder=tmp_path, language="en")) == 800
    with pytest.raises(ScenarioError, match="no sound 'absent'"):
        sounds.load_sound("absent", folder=tmp_path, language="en")
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(ScenarioError, match="text.wav"):
        sounds.load_sound("text.wav", folder=tmp_path, language="en")


@pytest.mark.skipif(not (sounds.ASTERISK_FOLDER / "sounds/en/digits").is_dir(), reason="asterisk-core-sounds-en-wav")
def test_recorded_digits_are_dictated_with_gaps() -> None:
    short, long = (sounds.spoken_digits("505", language="en", gap_ms=gap) for gap in (100, 400))
    assert len(long) - len(short) == 2 * 300 * 8
