import pytest

from voice_agent.sandbox.providers.config import DoublesConfig
from voice_agent.sandbox.providers.dialogue import Dialogue, Prompt, Reply
from voice_agent.sandbox.providers.world import World


@pytest.mark.parametrize(
    ("expected", "given", "accepted"),
    [
        ("", "any", True),
        ("", "", False),
        ("", None, False),
        ("k", "k", True),
        ("k", "other", False),
        ("k", None, False),
    ],
)
def test_keys(expected: str, given: str | None, accepted: bool) -> None:
    assert World(DoublesConfig(api_key=expected)).accepts_key(given) is accepted


def test_bearer_keys() -> None:
    world = World(DoublesConfig())
    assert world.bearer({"Authorization": "Bearer abc"}) == "abc"
    assert world.bearer({"Authorization": "Basic abc"}) is None
    assert world.bearer({}) is None


def test_a_dialogue_replaces_the_answers() -> None:
    world = World(DoublesConfig())
    world.converse(Dialogue(replies=(Reply("x"),)))
    assert world.reply(Prompt(("hi",))).text == "x"
