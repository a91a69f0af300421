"""The noises of a caller's end, made or read: coughs, hums, key clicks, white and pink noise, recordings.

Pure but for `load_sound`. Arrays are float32, mono, 8,000 Hz, full scale 1.0. What is made is made from a seed, so a
scenario sounds the same each time. Recorded voices and music are those of Debian's asterisk-core-sounds-*-wav and
asterisk-moh-opsound-wav packages (CC BY-SA 3.0, docs/sandbox.md), where they are installed.
"""

from pathlib import Path
from typing import Literal

import numpy
from numpy.typing import NDArray

from voice_agent.audio.mulaw import FRAME_BYTES, RATE_HZ, decode
from voice_agent.errors import ScenarioError
from voice_agent.sandbox.carrier.sound_files import Samples, read_wav

VOICE_DB = -22.0
"""Level of a caller's voice, dB of full scale: the middle of what telephone speech is measured at (ITU-T P.56)."""

AUDIBLE = 10 ** (-44 / 20)
"""Samples below this, -44 dB of full scale, count as silence when speech is looked for."""

ASTERISK_FOLDER = Path("/usr/share/asterisk")

Signal = NDArray[numpy.float64]

NoiseKind = Literal["white", "pink", "clicks"]


def from_mulaw(mulaw: bytes) -> Samples:
    """Return the samples of mu-law audio."""
    return numpy.frombuffer(decode(mulaw), "<i2").astype(numpy.float32) / 32_768.0


def audible_range(samples: Samples) -> tuple[int, int]:
    """Return the first audible sample and the one after the last; (0, 0) where nothing is audible."""
    loud = numpy.flatnonzero(numpy.abs(samples) > AUDIBLE)
    return (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, 0)


def trimmed(samples: Samples) -> Samples:
    """Return what lies between the first and the last audible sample."""
    start, end = audible_range(samples)
    return samples[start:end]


def at_level(samples: Samples, level_db: float) -> Samples:
    """Return the samples at a level (root mean square of the audible ones), dB of full scale."""
    loud = samples[numpy.abs(samples) > AUDIBLE]
    if not loud.size:
        return samples
    gain = 10 ** (level_db / 20) / float(numpy.sqrt(numpy.mean(numpy.square(loud))))
    return numpy.asarray(samples * gain, numpy.float32)


def framed(samples: Samples) -> Samples:
    """Return the samples, lengthened by silence to whole frames of 160."""
    return numpy.pad(samples, (0, -len(samples) % FRAME_BYTES))


def joined(parts: list[Samples], gap_ms: int) -> Samples:
    """Return the parts one after the other with silence between them."""
    gap = numpy.zeros(gap_ms * RATE_HZ // 1_000, numpy.float32)
    return numpy.concatenate([piece for part in parts for piece in (part, gap)][:-1])


def cough(seed: int) -> Samples:
    """Return a cough of one to three bursts, 0.3 to 1.0 s, at the level of the voice.

    Each burst is an explosive onset of a few milliseconds and a noisy decay, coloured by a vocal tract's resonances;
    its last third has a trace of voice.
    """
    generator = numpy.random.default_rng(seed)
    bursts = [_cough_burst(generator) for _ in range(int(generator.integers(1, 4)))]
    return at_level(joined(bursts, int(generator.integers(60, 160))), VOICE_DB + 3)


def hum(seed: int = 1) -> Samples:
    """Return "mhm", hummed with a closed mouth: a low syllable and a rising one, 0.4 to 0.6 s."""
    generator = numpy.random.default_rng(seed)
    pitch_hz = float(generator.uniform(105, 190))
    first = _nasal(pitch_hz * 1.02, pitch_hz * 0.94, float(generator.uniform(0.14, 0.19)))
    second = _nasal(pitch_hz * 0.96, pitch_hz * float(generator.uniform(1.15, 1.35)), 0.26)
    breath = _resonant(generator.standard_normal(RATE_HZ // 25), ((500, 300), (1_500, 500))) * 0.03
    return at_level(numpy.concatenate([first, breath, second]).astype(numpy.float32), VOICE_DB)


def noise(kind: NoiseKind, seconds: float, *, level_db: float, seed: int = 1) -> Samples:
    """Return noise at a level of dB of full scale; key clicks are irregular, four to eight a second."""
    generator = numpy.random.default_rng(seed)
    length = int(seconds * RATE_HZ)
    if kind == "clicks":
        return _clicks(generator, length, level_db)
    white = generator.standard_normal(length)
    shaped = white if kind == "white" else _pink(white)
    scale = 10 ** (level_db / 20) / float(numpy.sqrt(numpy.mean(numpy.square(shaped))))
    return numpy.asarray(shaped * scale, numpy.float32)


def load_sound(name: str, *, folder: Path, language: str) -> Samples:
    """Return a WAV file's samples: a path (relative to `folder`), or an Asterisk sound or music by name.

    Raises ScenarioError where there is none, or where it cannot be read.
    """
    candidates = [folder / name, ASTERISK_FOLDER / "sounds" / language / f"{name}.wav"]
    candidates.append(ASTERISK_FOLDER / "moh" / f"{name}.wav")
    for candidate in candidates:
        if candidate.is_file():
            try:
                return read_wav(candidate.read_bytes())
            except ValueError as error:
                raise ScenarioError(f"{candidate}: {error}") from error
    raise ScenarioError(
        f"there is no sound {name!r}: no such WAV file in {folder}, and none of the packages "
        f"asterisk-core-sounds-{language}-wav and asterisk-moh-opsound-wav has it"
    )


def spoken_digits(digits: str, *, language: str, gap_ms: int) -> Samples:
    """Return digits dictated by the human voice of the Asterisk prompts. Raises ScenarioError without them."""
    voices = [load_sound(f"digits/{digit}", folder=ASTERISK_FOLDER, language=language) for digit in digits]
    return at_level(joined([trimmed(voice) for voice in voices], gap_ms), VOICE_DB)


def _cough_burst(generator: numpy.random.Generator) -> Samples:
    length = int(generator.uniform(0.22, 0.38) * RATE_HZ)
    time_s = numpy.arange(length) / RATE_HZ
    attack = 1 - numpy.exp(-time_s / 0.003)
    decay = numpy.exp(-time_s / float(generator.uniform(0.05, 0.09)))
    breath = _resonant(generator.standard_normal(length), ((550, 200), (1_400, 400), (2_600, 600))) * attack * decay
    pitch_hz = float(generator.uniform(130, 240))
    voiced = numpy.sign(numpy.sin(2 * numpy.pi * pitch_hz * time_s)) * numpy.clip((time_s - 0.1) / 0.05, 0, 1) * decay
    return numpy.asarray(breath + 0.08 * float(numpy.max(numpy.abs(breath))) * voiced, numpy.float32)


def _nasal(from_hz: float, to_hz: float, seconds: float) -> Samples:
    """Return a voiced [m] with a gliding pitch: harmonics under the murmur spectrum of a closed mouth."""
    time_s = numpy.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = from_hz + (to_hz - from_hz) * time_s / seconds
    phase = 2 * numpy.pi * numpy.cumsum(pitch_hz) / RATE_HZ
    sound = numpy.zeros_like(time_s)
    for harmonic in range(1, 16):
        frequency = harmonic * (from_hz + to_hz) / 2
        murmur = 1 / (1 + ((frequency - 260) / 180) ** 2) + 0.06 / (1 + ((frequency - 1_050) / 250) ** 2)
        sound += murmur * numpy.sin(harmonic * phase)
    return numpy.asarray(sound * numpy.sin(numpy.pi * time_s / seconds) ** 0.5, numpy.float32)


def _resonant(excitation: Signal, resonances: tuple[tuple[int, int], ...]) -> Signal:
    """Return noise under resonances (frequency, bandwidth), shaped in the frequency domain."""
    spectrum = numpy.fft.rfft(excitation)
    frequency = numpy.fft.rfftfreq(len(excitation), 1 / RATE_HZ)
    shape = sum(1 / (1 + ((frequency - centre) / width) ** 2) for centre, width in resonances)
    return numpy.fft.irfft(spectrum * shape, len(excitation))


def _pink(white: Signal) -> Signal:
    frequency = numpy.fft.rfftfreq(len(white), 1 / RATE_HZ)
    shape = numpy.zeros_like(frequency)
    shape[1:] = 1 / numpy.sqrt(frequency[1:])
    shape[frequency < 50] = 0.0
    return numpy.fft.irfft(numpy.fft.rfft(white) * shape, len(white))


def _clicks(generator: numpy.random.Generator, length: int, level_db: float) -> Samples:
    track = numpy.zeros(length, numpy.float32)
    position = 0
    while (position := position + int(generator.uniform(0.12, 0.26) * RATE_HZ)) < length - 200:
        click = generator.standard_normal(160) * numpy.exp(-numpy.arange(160) / 18.0)
        track[position : position + 160] += click.astype(numpy.float32)
    return at_level(track, level_db)
