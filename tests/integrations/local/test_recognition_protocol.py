import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.integrations.local.recognition_protocol import Frame, FrameReader, Kind, pack

FRAMES = st.lists(
    st.builds(Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=2_000)), max_size=6
)


@given(FRAMES, st.integers(1, 500))
def test_frames_survive_any_cutting(frames: list[Frame], size: int) -> None:
    sent = b"".join(pack(*frame) for frame in frames)
    reader = FrameReader()

    received = [frame for at in range(0, len(sent), size) for frame in reader.feed(sent[at : at + size])]

    assert received == frames


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        list(FrameReader().feed(b"\x63" + bytes(8)))
