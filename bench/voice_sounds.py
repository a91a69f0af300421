"""Sounds a caller's line carries, for the voice activity benchmark and the tests of the listener.

Speech and hold music are recordings of Debian's asterisk-core-sounds-{en,es}-wav and asterisk-moh-opsound-wav packages
(CC BY-SA 3.0; voice Allison Smith; macroform, Manolo Camp, Reno Project by way of opsound.org). Coughs, clicks, slams
and noises are synthesised here, each from a seed. Everything is float64 samples at 8,000 Hz, 1.0 being full scale.
"""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voice_agent.audio import mulaw

RATE_HZ = mulaw.RATE_HZ
SPEECH_FOLDERS = (Path("/usr/share/asterisk/sounds/en"), Path("/usr/share/asterisk/sounds/es"))
MUSIC_FOLDER = Path("/usr/share/asterisk/moh")
NOT_SPEECH = ("beep", "2tone", "confbridge-join.", "confbridge-leave.", "tt-monkeys.")
"""Parts of the names of prompts that are chimes, tones or animals."""

Samples = NDArray[np.float64]


def load(path: Path) -> Samples:
    """Return the samples of a mono 16-bit wave file at 8,000 Hz."""
    with wave.open(str(path)) as file:
        return np.asarray(np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / mulaw.FULL_SCALE)


def speech_files() -> list[Path]:
    """Return the recorded phrases in a fixed order. Raises FileNotFoundError where the packages are not installed."""
    files = [path for folder in SPEECH_FOLDERS for path in sorted(folder.glob("*.wav"))]
    if not files:
        raise FileNotFoundError("install asterisk-core-sounds-en-wav and asterisk-core-sounds-es-wav (make setup)")
    return [path for path in files if not any(part in path.name for part in NOT_SPEECH)]


def music_files() -> list[Path]:
    """Return the hold music in a fixed order. Raises FileNotFoundError where the package is not installed."""
    files = sorted(MUSIC_FOLDER.glob("*.wav"))
    if not files:
        raise FileNotFoundError("install asterisk-moh-opsound-wav (make setup)")
    return files


def level_db(samples: Samples) -> float:
    """Return the level of the loud half of a sound in dBFS: pauses do not count, as in ITU-T P.56."""
    blocks = samples[: len(samples) // 80 * 80].reshape(-1, 80)
    power = np.sort((blocks**2).mean(axis=1))[::-1]
    return float(10.0 * np.log10(power[: max(1, len(power) // 2)].mean() + 1e-12))


def at_level(samples: Samples, target_db: float) -> Samples:
    """Return the sound at `target_db` dBFS."""
    gain: float = 10.0 ** ((target_db - level_db(samples)) / 20.0)
    return samples * gain


def extent(samples: Samples, background_db: float = -100.0) -> tuple[int, int]:
    """Return first and last sample of a clean recording that can be heard over a background of `background_db` dBFS.

    By blocks of 5 ms: those over the background and less than 30 dB under the loud ones.
    """
    blocks = samples[: len(samples) // 40 * 40].reshape(-1, 40)
    power = 10.0 * np.log10((blocks**2).mean(axis=1) + 1e-12)
    sounding = np.flatnonzero(power > max(background_db, np.percentile(power, 95) - 30.0))
    return int(sounding[0]) * 40, int(sounding[-1] + 1) * 40


def to_mulaw(samples: Samples) -> bytes:
    """Return what the carrier would send."""
    return mulaw.encode((np.clip(samples, -1.0, 0.9999) * mulaw.FULL_SCALE).astype("<i2").tobytes())


def band(samples: Samples, low_hz: float, high_hz: float) -> Samples:
    """Return the sound between two frequencies (brick wall)."""
    spectrum = np.fft.rfft(samples)
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    spectrum[(frequency_hz < low_hz) | (frequency_hz > high_hz)] = 0.0
    return np.fft.irfft(spectrum, len(samples))


def white_noise(random: np.random.Generator, length_s: float) -> Samples:
    """Return telephone-band white noise."""
    return band(random.standard_normal(int(length_s * RATE_HZ)), 200.0, 3_500.0)


def pink_noise(random: np.random.Generator, length_s: float) -> Samples:
    """Return telephone-band noise that falls by 3 dB an octave: a street, a room, a fan."""
    spectrum = np.fft.rfft(random.standard_normal(int(length_s * RATE_HZ)))
    frequency_hz = np.fft.rfftfreq(int(length_s * RATE_HZ), 1 / RATE_HZ)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency_hz, 20.0)), int(length_s * RATE_HZ))
    return band(pink, 100.0, 3_500.0)


def resonate(samples: Samples, formants: tuple[tuple[float, float], ...]) -> Samples:
    """Return the sound through a vocal tract: resonances of (frequency, bandwidth) in Hz, summed."""
    spectrum = np.fft.rfft(samples)
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    gain = np.full(len(frequency_hz), 0.05)
    for centre_hz, width_hz in formants:
        gain += 1.0 / (1.0 + ((frequency_hz - centre_hz) / width_hz) ** 2)
    return np.fft.irfft(spectrum * gain, len(samples))


def cough(random: np.random.Generator) -> Samples:
    """Return one to three coughs: an explosion of 30-50 ms, 150-350 ms of noisy decay, often a voiced tail."""
    bouts = [_single_cough(random)]
    for _ in range(int(random.integers(0, 3))):
        bouts += [np.zeros(int(random.uniform(0.08, 0.35) * RATE_HZ)), random.uniform(0.4, 0.9) * _single_cough(random)]
    return np.concatenate(bouts)


def _single_cough(random: np.random.Generator) -> Samples:
    burst, decay = (int(random.uniform(*bounds) * RATE_HZ) for bounds in ((0.03, 0.05), (0.15, 0.35)))
    tail = int(random.uniform(0.06, 0.16) * RATE_HZ) if random.random() < 0.6 else 0
    length = burst + decay + tail
    time_s = np.arange(length) / RATE_HZ
    open_tract = ((random.uniform(400, 800), 200.0), (random.uniform(1_000, 1_700), 300.0), (2_600.0, 500.0))
    envelope = np.minimum(1.0, time_s / 0.004) * np.where(
        np.arange(length) < burst, 1.0, 0.5 * np.exp(-(time_s - burst / RATE_HZ) / random.uniform(0.05, 0.12))
    )
    sound = resonate(random.standard_normal(length), open_tract) * envelope
    if tail:
        loudness = np.sqrt((sound[:burst] ** 2).mean())
        start = burst + int(decay * random.uniform(0.3, 0.8))
        sound[start : start + tail] += (
            random.uniform(0.2, 0.8) * loudness * _voiced(random, tail, open_tract) * np.hanning(tail)
        )
    return band(sound, 150.0, 3_500.0)


def _voiced(random: np.random.Generator, length: int, tract: tuple[tuple[float, float], ...]) -> Samples:
    pitch_hz = random.uniform(90, 260) * np.linspace(1.0, random.uniform(0.7, 0.95), length)
    phase = np.cumsum(pitch_hz) / RATE_HZ + 0.02 * np.cumsum(random.standard_normal(length)) / 10
    pulses = (np.diff(np.floor(phase), prepend=0.0) > 0).astype(np.float64)
    voiced = resonate(pulses, tract)
    rms = float(np.sqrt((voiced**2).mean()))
    return voiced / (rms + 1e-9)


def key_clicks(random: np.random.Generator) -> Samples:
    """Return two seconds of typing: ringing clicks of 2-12 ms, 4 to 9 a second."""
    sound = np.zeros(2 * RATE_HZ)
    at = 0
    while at < len(sound) - 400:
        length = int(random.uniform(0.006, 0.03) * RATE_HZ)
        time_s = np.arange(length) / RATE_HZ
        ring = np.sin(2 * np.pi * random.uniform(900, 3_200) * time_s) + random.standard_normal(length)
        sound[at : at + length] += random.uniform(0.4, 1.0) * ring * np.exp(-time_s / random.uniform(0.001, 0.004))
        at += int(random.uniform(0.11, 0.25) * RATE_HZ)
    return sound


def door_slam(random: np.random.Generator) -> Samples:
    """Return a slam: a crack, then a room that rings low for 0.2-0.5 s."""
    length = int(random.uniform(0.25, 0.6) * RATE_HZ)
    time_s = np.arange(length) / RATE_HZ
    modes = sum(
        np.sin(2 * np.pi * hz * time_s + random.uniform(0, 6)) * np.exp(-time_s / random.uniform(0.03, 0.12))
        for hz in random.uniform(90, 420, 5)
    )
    crack = random.standard_normal(length) * np.exp(-time_s / random.uniform(0.01, 0.06))
    return band(0.5 * modes + 1.2 * crack, 80.0, 3_500.0)


def noise_burst(random: np.random.Generator) -> Samples:
    """Return 0.08 to 1.5 s of white, pink or band noise: wind, paper, a hand on the microphone, a breath."""
    length_s = float(random.uniform(0.08, 1.5))
    kind = int(random.integers(0, 3))
    if kind == 2:
        low_hz = random.uniform(200, 1_500)
        noise = band(random.standard_normal(int(length_s * RATE_HZ)), low_hz, low_hz + random.uniform(400, 2_000))
    else:
        noise = (white_noise, pink_noise)[kind](random, length_s)
    edge = int(random.uniform(0.003, 0.04) * RATE_HZ)
    ramp = np.minimum(1.0, np.minimum(np.arange(len(noise)), np.arange(len(noise))[::-1]) / edge)
    return noise * ramp


def music_excerpts(length_s: float = 20.0) -> list[tuple[str, Samples]]:
    """Return the hold music in pieces, each with the name of its file."""
    step = int(length_s * RATE_HZ)
    pieces = []
    for path in music_files():
        samples = load(path)
        pieces += [(path.stem, samples[at : at + step]) for at in range(0, len(samples) - step + 1, step)]
    return pieces
