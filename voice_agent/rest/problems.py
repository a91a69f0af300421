"""Problem details (RFC 9457): the one form that every refusal has, and how routes declare theirs.

What follows from a route's shape is declared for it (`api.openapi`); `refusals` names the rest.
"""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

MEDIA_TYPE = "application/problem+json"

_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""What Python calls otherwise before 3.13."""


class InvalidField(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str
    """Where, such as "body.name"; never the value."""

    reason: str


class RuleReason(BaseModel):
    """One rule that forbids a call."""

    code: str
    detail: str
    source: str
    """A law and where it is found, or a rule of ours."""

    pack: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[InvalidField] | None = None
    reasons: list[RuleReason] | None = None
    """Of a call that is refused: everything that speaks against it."""


def phrase(status: int) -> str:
    """Return what a status means, in RFC 9110's words whatever Python's version has."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:  # a code of its own, such as a proxy's 499
        return "Error"


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that refuses with these statuses."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {status: {"description": phrase(status), "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}
