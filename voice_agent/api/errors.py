"""Errors on their way out: every one becomes problem details (RFC 9457), `application/problem+json`.

`type` is a URN made from the exception's name, stable for programs; `detail` is for people. What was not raised on
purpose says nothing about itself: its message may hold anything, and the log has it.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from voice_agent.api.openapi import install_openapi
from voice_agent.compliance.model import CallRefused
from voice_agent.errors import ProviderBusy, TooManyRequests, VoiceAgentError
from voice_agent.rest.problems import MEDIA_TYPE, InvalidField, Problem, RuleReason, phrase

log = structlog.get_logger(__name__)

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem, and have its OpenAPI document say so."""
    for error in (VoiceAgentError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _answer)
    install_openapi(app)


def problem_type(error: type[VoiceAgentError]) -> str:
    """Return the URN that names an error class: ProviderBusy is urn:voice-agent:problem:provider-busy."""
    name = error.__name__.removesuffix("Error")
    return "urn:voice-agent:problem:" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


async def _answer(request: Request, error: Exception) -> Response:
    problem, headers = _problem(error)
    if problem.status >= 500:
        is_ours = isinstance(error, VoiceAgentError)
        log.error("request_failed", path=request.url.path, error=type(error).__name__, exc_info=not is_ours and error)
    if isinstance(error, HTTPException) and problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {**headers, "Allow": ", ".join(_methods(request)) or headers.get("Allow", "")}
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _methods(request: Request) -> list[str]:
    """Return what may be done with a path: several routes can have it, and the framework names the first one's."""
    routes = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return [method for method in METHODS if any(route.matches(scopes[method])[0] is Match.FULL for route in routes)]


def _problem(error: Exception) -> tuple[Problem, Mapping[str, str]]:
    headers: Mapping[str, str] = {}
    match error:
        case VoiceAgentError():
            status = error.http_status
            problem = Problem(
                type=problem_type(type(error)), title=phrase(status), status=status, detail=str(error) or None
            )
            if isinstance(error, CallRefused):
                problem.reasons = [RuleReason(**msgspec.to_builtins(reason)) for reason in error.reasons]
            if isinstance(error, ProviderBusy | TooManyRequests) and error.retry_after_s is not None:
                headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        case HTTPException():
            title = phrase(error.status_code)
            detail = error.detail if error.detail != title else None
            problem = Problem(title=title, status=error.status_code, detail=detail)
            headers = error.headers or {}
        case RequestValidationError():
            fields = [
                InvalidField(pointer=".".join(map(str, e["loc"])), reason=e["msg"].removeprefix("Value error, "))
                for e in error.errors()
            ]
            type_ = "urn:voice-agent:problem:invalid-request"
            problem = Problem(type=type_, title=phrase(422), status=422, errors=fields)
        case _:
            problem = Problem(title=phrase(500), status=500)
    return problem, headers
