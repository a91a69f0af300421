"""Liveness and readiness, for load balancers and orchestrators. Neither needs credentials, neither asks a provider."""

from collections.abc import Callable, Mapping

from fastapi import APIRouter, Response, status
from pydantic import BaseModel

Reason = Callable[[], str]
"""Says why the process cannot take calls now; "" where it can. Asked on the event loop: it must not block."""


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """Whether the process takes new calls, and what keeps it from that."""

    ready: bool
    reasons: dict[str, str]


def health_router(reasons: Mapping[str, Reason]) -> APIRouter:
    """Return `/healthz` and `/readyz`; `reasons` names what readiness depends on, such as "draining"."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> Health:
        """Answer 200 as long as the event loop turns."""
        return Health()

    @router.get("/readyz", responses={503: {"model": Readiness}})
    async def readyz(response: Response) -> Readiness:
        """Answer 200 where new calls are welcome, 503 where they should go elsewhere."""
        found = {name: why for name, reason in reasons.items() if (why := reason())}
        if found:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return Readiness(ready=not found, reasons=found)

    return router
