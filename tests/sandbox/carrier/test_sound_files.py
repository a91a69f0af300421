from pathlib import Path

import numpy
import pytest

from tests.sandbox.callers.voices import tone, write_wav
from voice_agent.audio.mulaw import decode
from voice_agent.sandbox.carrier.sound_files import read_wav, to_mulaw


def test_wav_files_of_any_rate_width_and_channels(tmp_path: Path) -> None:
    stereo = numpy.stack([tone(500), tone(500)], axis=1)
    doubled = numpy.repeat(tone(500), 2)
    write_wav(tmp_path / "stereo.wav", (stereo * 32_767).astype("<i2"), rate_hz=8_000, channels=2)
    write_wav(tmp_path / "wide.wav", (doubled * 32_767).astype("<i2"), rate_hz=16_000)
    write_wav(tmp_path / "bytes.wav", (tone(500) * 127 + 128).astype("u1"), rate_hz=8_000, width=1)
    for name, tolerance in (("stereo", 0.001), ("wide", 0.05), ("bytes", 0.02)):
        read = read_wav((tmp_path / f"{name}.wav").read_bytes())
        assert len(read) == pytest.approx(4_000, abs=2)
        assert float(numpy.abs(read[100:3_900] - tone(500)[100:3_900]).max()) < tolerance


@pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3 an mp3 file"])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a PCM WAV file"):
        read_wav(content)


def test_loud_samples_are_clipped_not_wrapped() -> None:
    loud = numpy.asarray([2.0, -2.0], numpy.float32)
    assert numpy.abs(numpy.frombuffer(decode(to_mulaw(loud)), "<i2")).min() > 31_000
