from functools import partial

import httpx
from fastapi import FastAPI

from voice_agent.api.health import health_router


async def ask(path: str, reasons: dict[str, str]) -> httpx.Response:
    app = FastAPI()
    app.include_router(health_router({name: partial(str, why) for name, why in reasons.items()}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


async def test_a_process_that_answers_is_alive_even_where_it_takes_no_calls() -> None:
    answer = await ask("/healthz", {"draining": "calls are being finished"})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_where_nothing_stands_against_it() -> None:
    answer = await ask("/readyz", {"draining": "", "capacity": ""})

    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": {}})


async def test_f49_not_ready_while_draining_and_says_why() -> None:
    answer = await ask("/readyz", {"draining": "calls are being finished", "capacity": ""})

    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": {"draining": "calls are being finished"}}
