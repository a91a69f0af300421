"""Who may come in: signatures, tickets, lines. Nobody who may not has cost a connection to a provider."""

import json
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.stand import PATIENCE_S, Stand, standing
from tests.media_stream import twilio_messages as twilio
from voice_agent.integrations.twilio.addresses import (
    AFTER_DIAL_PATH,
    AFTER_STREAM_PATH,
    STREAM_STATUS_PATH,
    VOICE_PATH,
)
from voice_agent.integrations.twilio.twiml import SENTENCES

POLICY_VIOLATION = 1008
PATHS = (VOICE_PATH, AFTER_STREAM_PATH, AFTER_DIAL_PATH, STREAM_STATUS_PATH)


async def _close_code(client: ClientConnection) -> int | None:
    try:
        while True:
            await client.recv()
    except ConnectionClosed:
        return client.close_code


async def _open(stand: Stand, ticket: str, *, is_signed: bool = True) -> ClientConnection:
    headers = stand.upgrade_headers() if is_signed else {}
    client = await connect(stand.media_url, additional_headers=headers, compression=None, open_timeout=PATIENCE_S)
    await client.send(twilio.connected().decode())
    parameters = {"ticket": ticket} if ticket else {}
    await client.send(twilio.start(parameters=parameters).decode())
    return client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "0" * 32], ids=["unsigned", "forged"])
async def test_a_webhook_that_the_carrier_did_not_sign_is_refused(stand: Stand, path: str, token: str) -> None:
    status, body = await stand.post(path, {"CallSid": twilio.CALL}, token=token)
    assert (status, body) == (403, "")


async def test_a_ticket_opens_one_stream_of_its_call(stand: Stand) -> None:
    ticket = await stand.ticket(twilio.CALL)
    client = await _open(stand, ticket)
    while json.loads(await client.recv())["event"] != "media":
        pass
    assert len(stand.product.calls) == 1
    replayed = await _open(stand, ticket)
    assert await _close_code(replayed) == POLICY_VIOLATION
    await client.send(twilio.stop(2).decode())
    assert await _close_code(client) == 1000
    again = await _open(stand, ticket)
    assert await _close_code(again) == POLICY_VIOLATION


@pytest.mark.parametrize("ticket", ["", "forged", "other"])
async def test_a_stream_without_its_ticket_is_closed_and_costs_no_provider(stand: Stand, ticket: str) -> None:
    if ticket == "other":
        ticket = await stand.ticket("CA" + "9" * 32)
    client = await _open(stand, ticket)
    assert await _close_code(client) == POLICY_VIOLATION
    assert len(stand.product.calls) == 0
    assert stand.provider_connections() == 0


async def test_an_upgrade_that_the_carrier_did_not_sign_is_closed_even_with_a_ticket(stand: Stand) -> None:
    ticket = await stand.ticket(twilio.CALL)
    client = await _open(stand, ticket, is_signed=False)
    assert await _close_code(client) == POLICY_VIOLATION
    assert stand.provider_connections() == 0


async def test_a_caller_beyond_the_lines_hears_that_they_are_busy(tmp_path: Path) -> None:
    async with standing(tmp_path, max_calls=1) as stand:
        late = await stand.ticket("CA" + "8" * 32)
        client = await _open(stand, await stand.ticket(twilio.CALL))
        await client.recv()
        status, document = await stand.post(VOICE_PATH, {"CallSid": "CA" + "7" * 32})
        assert status == 200
        assert SENTENCES["en"]["busy"] in document
        assert "<Stream" not in document
        second = await connect(stand.media_url, additional_headers=stand.upgrade_headers(), compression=None)
        await second.send(twilio.start(call="CA" + "8" * 32, parameters={"ticket": late}).decode())
        assert await _close_code(second) == POLICY_VIOLATION
        await client.send(twilio.stop(2).decode())
        assert await _close_code(client) == 1000


async def test_a_stream_that_nobody_meant_to_end_is_apologised_for(stand: Stand) -> None:
    client = await _open(stand, await stand.ticket(twilio.CALL))
    await client.recv()
    await client.close()
    _, document = await stand.post(AFTER_STREAM_PATH, {"CallSid": twilio.CALL})
    assert SENTENCES["en"]["failure"] in document


async def test_stopping_the_server_closes_live_calls_with_going_away_and_keeps_their_files(stand: Stand) -> None:
    client = await _open(stand, await stand.ticket(twilio.CALL))
    while json.loads(await client.recv())["event"] != "media":
        pass
    closed = _close_code(client)
    await stand.stop()
    assert await closed == 1001
    folder = stand.data_dir / "calls" / twilio.CALL
    assert json.loads((folder / "transcript.json").read_text("utf-8"))["is_complete"]
    assert '"event":"CallEnded","reason":"shutdown"' in (folder / "events.jsonl").read_text("utf-8")
    await stand.doubles.quiet()
