"""ETags where edits race: a row's revision. `If-Match` with another one is refused, without one nothing is checked."""

from typing import Annotated

from fastapi import Header

from voice_agent.errors import PreconditionFailed

IfMatch = Annotated[str | None, Header(max_length=100, description="ETag of the state that the edit was made from.")]


def etag(revision: int) -> str:
    """Return the ETag of a revision (RFC 9110 section 8.8.3)."""
    return f'"{revision}"'


def check_if_match(header: str | None, revision: int) -> None:
    """Raise PreconditionFailed where `header` names another revision. `*` and no header match any."""
    if header is None or header.strip() == "*":
        return
    named = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    if etag(revision) not in named:
        raise PreconditionFailed("it has been changed since you read it: read it again")
