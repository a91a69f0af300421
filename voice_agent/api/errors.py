"""Errors on their way out: every one becomes problem details (RFC 9457), `application/problem+json`.

`type` is a URN made from the exception's name, stable for programs; `detail` is for people. What was not raised on
purpose says nothing about itself: its message may hold anything, and the log has it.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from voice_agent.errors import ProviderBusy, TooManyRequests, VoiceAgentError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class InvalidField(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str
    """Where, such as "body.name"; never the value."""

    reason: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[InvalidField] | None = None


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    for error in (VoiceAgentError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _answer)


def problem_type(error: type[VoiceAgentError]) -> str:
    """Return the URN that names an error class: ProviderBusy is urn:voice-agent:problem:provider-busy."""
    name = error.__name__.removesuffix("Error")
    return "urn:voice-agent:problem:" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


async def _answer(request: Request, error: Exception) -> Response:
    problem, headers = _problem(error)
    if problem.status >= 500:
        is_ours = isinstance(error, VoiceAgentError)
        log.error("request_failed", path=request.url.path, error=type(error).__name__, exc_info=not is_ours and error)
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _problem(error: Exception) -> tuple[Problem, Mapping[str, str]]:
    headers: Mapping[str, str] = {}
    match error:
        case VoiceAgentError():
            status = error.http_status
            problem = Problem(
                type=problem_type(type(error)), title=_phrase(status), status=status, detail=str(error) or None
            )
            if isinstance(error, ProviderBusy | TooManyRequests) and error.retry_after_s is not None:
                headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        case HTTPException():
            title = _phrase(error.status_code)
            detail = error.detail if error.detail != title else None
            problem = Problem(title=title, status=error.status_code, detail=detail)
            headers = error.headers or {}
        case RequestValidationError():
            fields = [InvalidField(pointer=".".join(map(str, e["loc"])), reason=e["msg"]) for e in error.errors()]
            type_ = "urn:voice-agent:problem:invalid-request"
            problem = Problem(type=type_, title=_phrase(422), status=422, errors=fields)
        case _:
            problem = Problem(title=_phrase(500), status=500)
    return problem, headers


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a code of its own, such as a proxy's 499
        return "Error"
