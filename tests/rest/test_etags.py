"""ETags."""

import pytest

from voice_agent.errors import PreconditionFailed
from voice_agent.rest.etags import check_if_match, etag


@pytest.mark.parametrize("header", [None, "*", '"3"', 'W/"3"', '"1", "3"'])
def test_the_state_that_was_read_may_be_edited(header: str | None) -> None:
    check_if_match(header, 3)
    assert etag(3) == '"3"'


@pytest.mark.parametrize("header", ['"2"', "3", "", '"33"'])
def test_another_one_may_not(header: str) -> None:
    with pytest.raises(PreconditionFailed):
        check_if_match(header, 3)
