"""Placing calls when the carrier's callbacks are faster than its answer; test_routes has the rest."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.world import ApiWorld, api_world, now
from tests.calls.stored_calls import SPAIN, reread
from voice_agent.auth.principal import system
from voice_agent.calls.model import CarrierReport
from voice_agent.calls.ports import CallRequest, CarrierCall
from voice_agent.calls.processor import Receipt
from voice_agent.calls.service import CallOrder
from voice_agent.errors import CarrierError
from voice_agent.integrations.twilio.addresses import call_of
from voice_agent.storage.database import Database


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


def told(request: CallRequest, status: str) -> Receipt:
    return Receipt(
        source="status", call_sid="CA1", dedupe_key=status, event=status, payload={}, received_at=now(),
        report=CarrierReport(status=status, at=now()), call_id=call_of(request.status_callback),
    )  # fmt: skip


@pytest.mark.parametrize("is_answer_lost", [False, True])
async def test_f21_a_call_that_ended_before_the_answer_to_its_request_stays_ended(
    world: ApiWorld, is_answer_lost: bool
) -> None:
    principal = system(await world.organisation(), "test")
    create = world.carrier.create_call

    async def slow(request: CallRequest) -> CarrierCall:
        for status in ("initiated", "ringing", "busy"):
            await world.processor.take(told(request, status))
        if is_answer_lost:
            raise CarrierError("no answer")
        call = await create(request)
        return CarrierCall(call_sid="CA1", status="queued", to=call.to, caller=call.caller)

    world.carrier.create_call = slow  # type: ignore[method-assign]
    call = await world.calls.start(principal, CallOrder(to=SPAIN))

    assert (call.state, call.outcome, call.call_sid) == ("ended", "busy", "CA1")


async def test_a_call_that_was_written_down_is_placed_once_however_many_try(world: ApiWorld) -> None:
    principal = system(await world.organisation(), "test")
    call = await world.calls.start(principal, CallOrder(to=SPAIN))

    await asyncio.gather(*(world.calls.place(call.id) for _ in range(5)))
    assert len(world.carrier.placed) == 1
    assert (await reread(world.database, call.id)).state == "accepted"
