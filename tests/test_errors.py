"""The drawing in the module is the tree."""

import inspect
import re

from voice_agent import errors
from voice_agent.errors import ProviderBusy, ProviderError, VoiceAgentError


def drawn() -> dict[str, str]:
    """Return each drawn class with its parent, read from the indentation of the docstring's tree."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (inspect.getdoc(errors) or "").splitlines():
        if match := re.match(r"([\s│├└─]*)([A-Z]\w+)(?:\s{2}|$)", line):
            column, name = match.start(2), match.group(2)
            path = [(at, each) for at, each in path if at < column]
            parents[name] = path[-1][1] if path else "Exception"
            path.append((column, name))
    return parents


def test_every_error_is_drawn_beneath_its_parent() -> None:
    classes = {name: each.__bases__[0].__name__ for name, each in vars(errors).items() if inspect.isclass(each)}

    assert drawn() == classes


def test_every_error_has_an_http_status_that_is_one() -> None:
    for each in vars(errors).values():
        if inspect.isclass(each) and issubclass(each, VoiceAgentError):
            assert 400 <= each.http_status < 600


def test_a_provider_error_names_its_provider() -> None:
    error: ProviderError = ProviderBusy("elevenlabs", "rate limit", retry_after_s=2.0)

    assert str(error) == "elevenlabs: rate limit"
    assert error.provider == "elevenlabs"
