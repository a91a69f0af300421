"""Problem details and how routes declare them."""

import pytest

from voice_agent.rest.problems import MEDIA_TYPE, phrase, refusals


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "Not Found"), (422, "Unprocessable Content"), (413, "Content Too Large"), (499, "Error")],
)
def test_a_status_has_the_standards_words_in_every_version_of_python(status: int, words: str) -> None:
    assert phrase(status) == words


def test_a_route_declares_what_it_refuses_with() -> None:
    declared = refusals(404, 409)

    assert {status: response["description"] for status, response in declared.items()} == {
        404: "Not Found", 409: "Conflict",
    }  # fmt: skip
    assert all(response["content"][MEDIA_TYPE]["schema"]["$ref"].endswith("/Problem") for response in declared.values())
