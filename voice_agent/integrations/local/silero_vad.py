"""Silero's voice activity model behind the pipeline's port, on onnxruntime (extra `[vad]`).

The model (v6, MIT, models/LICENSE-silero-vad) tells a voice from music, coughs and noise, which WebRTC's detector
cannot; a window costs 100-200 us, 50 times as much. So the pipeline opens a fresh stream for each sound that might be a
voice and feeds it only until the verdict (`pipeline.barge_in`). Input is what the model was trained on at 8,000 Hz:
windows of 256 samples behind the last 32 samples of the window before, and a recurrent state of 2 x 128 floats
(https://github.com/snakers4/silero-vad, `OnnxWrapper`).
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voice_agent.audio.mulaw import FULL_SCALE, RATE_HZ
from voice_agent.errors import SettingsError

MODEL_FILE = Path(__file__).parent / "models" / "silero_vad.onnx"

WINDOW = 256
"""Samples a run takes (32 ms)."""

CONTEXT = 32
"""Samples of the window before that every run sees again."""

_STATE_SHAPE = (2, 1, 128)
_RATE = np.array(RATE_HZ, dtype=np.int64)

Floats = NDArray[np.float32]


class Session(Protocol):
    """What is used of `onnxruntime.InferenceSession`."""

    def run(self, output_names: None, input_feed: dict[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Return the probability, shape (1, 1), and the next state."""
        ...


def is_installed() -> bool:
    """Return whether the extra `[vad]` is installed. Imports nothing."""
    return find_spec("onnxruntime") is not None


class SileroVoiceActivityStream:
    """The model's state for one stretch of sound, about 3 KB."""

    __slots__ = ("_filled", "_probability", "_session", "_state", "_window")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state: Floats = np.zeros(_STATE_SHAPE, dtype=np.float32)
        self._window: Floats = np.zeros((1, CONTEXT + WINDOW), dtype=np.float32)
        self._filled = CONTEXT
        self._probability = 0.0

    def process(self, pcm16: bytes) -> float:
        """Return the probability that the last whole window was speech; 0.0 before the first. Any length. Hot path."""
        samples = np.frombuffer(pcm16, dtype="<i2")
        window = self._window[0]
        while len(samples):
            room = CONTEXT + WINDOW - self._filled
            part, samples = samples[:room], samples[room:]
            window[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if len(part) == room:
                self._run()
        return self._probability

    def _run(self) -> None:
        probability, self._state = self._session.run(
            None, {"input": self._window * np.float32(1 / FULL_SCALE), "state": self._state, "sr": _RATE}
        )
        self._probability = float(probability[0, 0])
        self._window[0, :CONTEXT] = self._window[0, WINDOW:]
        self._filled = CONTEXT


class SileroVoiceActivityDetector:
    """The model, loaded once and shared by all calls: it keeps no state of its own."""

    def __init__(self) -> None:
        """Load the model: 0.2 s and 55 MB, once a process. Raises SettingsError where the extra is not installed."""
        if not is_installed():
            raise SettingsError("VOICE_ACTIVITY=silero needs onnxruntime: pip install 'voice-agent[vad]'")
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        # The default pool spins on every core and slows its neighbours; one window is too small to share out.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Session = onnxruntime.InferenceSession(MODEL_FILE, options, providers=["CPUExecutionProvider"])

    def open(self) -> SileroVoiceActivityStream:
        """Return fresh state. Cheap: a stretch of sound may have its own."""
        return SileroVoiceActivityStream(self._session)
