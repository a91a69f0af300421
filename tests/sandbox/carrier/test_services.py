import asyncio

import structlog

from voice_agent.sandbox.carrier.services import Background, CarrierSettings


async def test_background_work_is_cancelled_at_the_end() -> None:
    background = Background()
    task = background.spawn(asyncio.sleep(600))
    await background.close()
    assert task.cancelled()


async def test_background_work_that_fails_is_logged() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    background = Background()
    with structlog.testing.capture_logs() as logs:
        await asyncio.wait({background.spawn(fail())})
        await background.close()
    assert [entry["event"] for entry in logs] == ["background work failed"]


def test_every_carrier_has_credentials_of_its_own() -> None:
    one, other = CarrierSettings(), CarrierSettings()
    assert one.account_sid != other.account_sid
    assert one.auth_token != other.auth_token
    assert one.account_sid.startswith("AC")
