"""F36: what goes wrong with a request for a call, between TwilioService and the sandbox carrier on a real socket.

The carrier's journal counts what was accepted: an entry for each call that exists, whatever became of the answer.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from voice_agent.calls.ports import CallRequest
from voice_agent.errors import CarrierError
from voice_agent.integrations.twilio.service import TwilioService
from voice_agent.sandbox.carrier import Carrier, CarrierSettings, CreateFault, CreateFaults, RestError
from voice_agent.sandbox.carrier.journal import CallAccepted, CreateFaulted, RestAnswered
from voice_agent.settings import TwilioSettings

LOST_REPLIES = 500


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


def service_of(carrier: Carrier, *, timeout_s: float = 5.0) -> TwilioService:
    settings = TwilioSettings.model_validate(
        {
            "account_sid": carrier.settings.account_sid,
            "auth_token": carrier.settings.auth_token,
            "base_url": carrier.base_url,
            "calls_per_second": 100.0,
        }
    )
    return TwilioService(settings, timeout_s=timeout_s, sleep=at_once)


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with Carrier(CarrierSettings(account_sid="AC" + "0" * 32)) as running:
        yield running


def request(number: int = 0) -> CallRequest:
    return CallRequest(
        to=f"+1500555{number:04}", caller="+15005550001", url=f"https://calls.example.org/twilio/calls/{number}/answer"
    )


def accepted(carrier: Carrier) -> list[CallAccepted]:
    return [entry for entry in carrier.journal if isinstance(entry, CallAccepted)]


def posts(carrier: Carrier) -> int:
    return sum(isinstance(entry, RestAnswered) and entry.method == "POST" for entry in carrier.journal)


@pytest.mark.parametrize(
    ("fault", "calls", "requests"),
    [
        (CreateFault.REPLY_LOST, 1, 1),
        (CreateFault.RESET, 0, 1),
        (CreateFault.FAILED_AFTER, 1, 1),
        (CreateFault.FAILED_BEFORE, 0, 1),
    ],
)
async def test_f36_what_is_unclear_is_said_so_and_asked_once(
    carrier: Carrier, fault: CreateFault, calls: int, requests: int
) -> None:
    carrier.create_faults.order(fault)
    async with service_of(carrier) as service:
        with pytest.raises(CarrierError) as caught:
            await service.create_call(request())
    assert caught.value.is_unclear
    assert not caught.value.is_not_processed
    assert (len(accepted(carrier)), posts(carrier)) == (calls, requests)
    assert [entry.fault for entry in carrier.journal if isinstance(entry, CreateFaulted)] == [fault]


async def test_f36_a_slow_answer_is_unclear_and_the_call_exists(carrier: Carrier) -> None:
    carrier.create_faults.order(CreateFault.SLOW)
    async with service_of(carrier, timeout_s=0.1) as service:
        with pytest.raises(CarrierError, match="did not answer") as caught:
            await service.create_call(request())
    assert caught.value.is_unclear
    assert len(accepted(carrier)) == 1


async def test_f36_busy_is_asked_again_and_makes_one_call(carrier: Carrier) -> None:
    carrier.create_faults.order(CreateFault.BUSY, CreateFault.BUSY)
    async with service_of(carrier) as service:
        call = await service.create_call(request())
    assert [entry.call_sid for entry in accepted(carrier)] == [call.call_sid]
    assert posts(carrier) == 3


@pytest.mark.parametrize("is_problem", [False, True])
async def test_both_forms_of_twilios_errors_are_read(carrier: Carrier, is_problem: bool) -> None:
    carrier.refuse_next(RestError(400, 21211, "no such number", is_problem=is_problem))
    async with service_of(carrier) as service:
        with pytest.raises(CarrierError, match="no such number") as caught:
            await service.create_call(request())
    assert (caught.value.code, caught.value.kind, caught.value.is_unclear) == (21211, "invalid_number", False)


async def test_f36_five_hundred_lost_replies_make_five_hundred_calls_and_no_second_request() -> None:
    """Every reply is lost after the call was created; each of the calls is then found by its numbers."""
    began = datetime.now(UTC) - timedelta(seconds=2)
    settings = CarrierSettings(account_sid="AC" + "0" * 32, create_faults=CreateFaults(reply_lost=1.0))
    async with Carrier(settings) as carrier:
        async with service_of(carrier) as service:

            async def lose(number: int) -> bool:
                try:
                    await service.create_call(request(number))
                except CarrierError as error:
                    return error.is_unclear
                return False

            unclear = [await lose(number) for number in range(LOST_REPLIES)]
            found = [
                await service.list_calls(to=request(number).to, caller=request(number).caller, started_after=began)
                for number in range(0, LOST_REPLIES, 25)
            ]
        assert unclear == [True] * LOST_REPLIES
        assert posts(carrier) == LOST_REPLIES
        assert sorted(entry.url for entry in accepted(carrier)) == sorted(
            request(number).url for number in range(LOST_REPLIES)
        )
        assert [len(calls) for calls in found] == [1] * len(found)


async def test_calls_are_found_over_several_pages(carrier: Carrier) -> None:
    began = datetime.now(UTC) - timedelta(seconds=2)
    async with service_of(carrier) as service:
        placed = {(await service.create_call(request())).call_sid for _ in range(60)}
        found = await service.list_calls(to=request().to, caller=request().caller, started_after=began)
        none = await service.list_calls(
            to=request().to, caller=request().caller, started_after=began + timedelta(seconds=3_600)
        )
    assert {call.call_sid for call in found} == placed
    assert none == ()
