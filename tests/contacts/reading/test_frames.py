"""The words on the pipe."""

import pytest

from voice_agent.contacts.reading.frames import (
    HEADER,
    Answer,
    Inspect,
    Kind,
    PreviewIt,
    Read,
    Refusal,
    Request,
    pack,
    pack_request,
    unpack,
    unpack_request,
)
from voice_agent.contacts.reading.model import (
    Chunk,
    FileFormat,
    FileProblem,
    FileRefused,
    Inspection,
    Mapping,
    Order,
    Preview,
)

ORDER = Order(mapping=Mapping(columns=()), start_row=3)
CHUNK = Chunk(taken=(), refused=(), last_row=1, blank=1, bytes_read=2, size_bytes=3)
INSPECTION = Inspection(format=FileFormat(), columns=(), size_bytes=1, rows_estimate=2)
PREVIEW = Preview(
    first=(), worst=(), rows=0, is_whole=True, taken=0, refused=0, blank=0, duplicates=0, codes={"missing": 1}
)


@pytest.mark.parametrize("answer", [CHUNK, INSPECTION, PREVIEW])
def test_answers_arrive_as_they_were(answer: Answer) -> None:
    frame = pack(answer)
    kind, length = HEADER.unpack_from(frame)

    assert unpack(kind, frame[HEADER.size :]) == answer
    assert length == len(frame) - HEADER.size


def test_a_refusal_is_raised_on_the_other_side() -> None:
    frame = pack(Refusal(FileProblem.BOMB, "no"))

    with pytest.raises(FileRefused, match="no") as refusal:
        unpack(frame[0], frame[HEADER.size :])
    assert refusal.value.problem is FileProblem.BOMB


def test_what_is_no_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="9"):
        unpack(9, b"")
    assert {kind.value for kind in Kind} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "request_", [Inspect(path="a"), PreviewIt(path="a", order=ORDER), Read(path="a", order=ORDER, max_bytes=9)]
)
def test_requests_arrive_as_they_were(request_: Request) -> None:
    frame = pack_request(request_)

    assert unpack_request(frame[HEADER.size :]) == request_
    assert HEADER.unpack_from(frame) == (0, len(frame) - HEADER.size)
