"""The Recordings resource, through Twilio's own SDK and by hand."""

import io
import wave
from typing import Any

import aiohttp
import pytest
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient

from tests.contracts.eventually import eventually
from tests.sandbox.carrier.server import FakeServer, Person
from tests.sandbox.carrier.test_rest import FROM, TO, client_of, ended, http
from voice_agent.audio.mulaw import encode
from voice_agent.sandbox.carrier import Callee, Carrier, RecordingFault
from voice_agent.sandbox.carrier.journal import RecordingFaulted

__all__ = ["http"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]

VOICE = encode(b"\x00\x20" * 8_000 * 20)


@pytest.fixture
def twilio(carrier: Carrier, http: AsyncTwilioHttpClient) -> Any:
    return client_of(carrier, http)


async def a_recorded_call(carrier: Carrier, server: FakeServer, twilio: Any, **fields: Any) -> Any:
    """Place a call that lasts until it is ended, and is recorded; return it once there is some sound."""
    carrier.register(TO, Callee(ring_s=0.0, person=lambda: Person(says=VOICE)))
    call = await twilio.calls.create_async(
        to=TO,
        from_=FROM,
        twiml='<Response><Pause length="60"/></Response>',
        record=True,
        recording_status_callback=f"{server.url}/twiml/recording",
        **({"recording_channels": "dual"} | fields),
    )
    await eventually(lambda: any(each.said for each in carrier.recordings.of_call(call.sid)))
    return call


async def hang_up(carrier: Carrier, twilio: Any, call_sid: str) -> None:
    await twilio.calls(call_sid).update_async(status="completed")
    await ended(carrier, call_sid)


async def sound(carrier: Carrier, url: str) -> tuple[int, bytes]:
    credentials = aiohttp.encode_basic_auth(carrier.settings.account_sid, carrier.settings.auth_token)
    async with (
        aiohttp.ClientSession(headers={"Authorization": credentials}) as client,
        client.get(f"{url}.wav") as answer,
    ):
        return answer.status, await answer.read()


async def test_a_recorded_call_is_told_fetched_and_deleted(carrier: Carrier, server: FakeServer, twilio: Any) -> None:
    call = await a_recorded_call(carrier, server, twilio)
    assert server.forms("/twiml/recording") == []
    await hang_up(carrier, twilio, call.sid)

    (form,) = await server.wait_for("/twiml/recording", 1)
    assert (form["CallSid"], form["RecordingStatus"], form["RecordingChannels"]) == (call.sid, "completed", "2")
    status, content = await sound(carrier, form["RecordingUrl"])
    assert status == 200
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8_000)
        assert file.getnframes() > 0
    recording = twilio.recordings(form["RecordingSid"])
    fetched = await recording.fetch_async()
    assert (fetched.status, fetched.call_sid, fetched.channels) == ("completed", call.sid, 2)
    assert [each.sid for each in await twilio.calls(call.sid).recordings.list_async()] == [form["RecordingSid"]]

    assert await recording.delete_async()
    assert (await sound(carrier, form["RecordingUrl"]))[0] == 404
    assert await twilio.calls(call.sid).recordings.list_async() == []
    with pytest.raises(TwilioRestException) as missing:
        await recording.delete_async()
    assert (missing.value.status, missing.value.code) == (404, 20404)


async def test_f46_a_sound_is_late_or_fails_or_breaks_off_as_planned(
    carrier: Carrier, server: FakeServer, twilio: Any
) -> None:
    call = await a_recorded_call(carrier, server, twilio, recording_channels="mono")
    await hang_up(carrier, twilio, call.sid)
    (form,) = await server.wait_for("/twiml/recording", 1)
    carrier.recordings.faults.order(RecordingFault.NOT_READY, RecordingFault.FAILED, RecordingFault.BROKEN)

    url = form["RecordingUrl"]
    assert (await sound(carrier, url))[0] == 404
    assert (await sound(carrier, url))[0] == 500
    with pytest.raises(aiohttp.ClientPayloadError):
        await sound(carrier, url)
    assert (await sound(carrier, url))[0] == 200
    faults = [entry.fault for entry in carrier.journal if isinstance(entry, RecordingFaulted)]
    assert faults == ["not_ready", "failed", "broken"]


async def test_the_running_recording_is_paused_resumed_and_stopped(
    carrier: Carrier, server: FakeServer, twilio: Any
) -> None:
    call = await a_recorded_call(carrier, server, twilio)
    (recording,) = carrier.recordings.of_call(call.sid)
    current = twilio.calls(call.sid).recordings("Twilio.CURRENT")

    assert (await current.update_async(status="paused", pause_behavior="skip")).status == "paused"
    assert (await sound(carrier, carrier.base_url + recording.path))[0] == 404
    with pytest.raises(TwilioRestException) as refused:
        await twilio.recordings(recording.sid).delete_async()
    assert refused.value.status == 400
    assert (await current.update_async(status="in-progress")).status == "in-progress"
    with pytest.raises(TwilioRestException) as unknown:
        await current.update_async(status="faster")
    assert unknown.value.status == 400
    named = twilio.calls(call.sid).recordings(recording.sid)
    assert (await named.update_async(status="stopped")).status == "completed"
    await server.wait_for("/twiml/recording", 1)

    for each, status in ((current, 404), (named, 400)):
        with pytest.raises(TwilioRestException) as over:
            await each.update_async(status="paused")
        assert over.value.status == status
    await hang_up(carrier, twilio, call.sid)
    assert len(server.forms("/twiml/recording")) == 1


async def test_a_call_that_is_not_recorded_or_not_there_has_no_recording(
    carrier: Carrier, server: FakeServer, twilio: Any
) -> None:
    carrier.register(TO, Callee(outcome="busy", ring_s=0.0))
    call = await twilio.calls.create_async(
        to=TO, from_=FROM, twiml="<Response/>", record=True,
        recording_status_callback=f"{server.url}/twiml/recording",
    )  # fmt: skip
    await ended(carrier, call.sid)
    assert carrier.recordings.of_call(call.sid) == ()
    for call_sid in (call.sid, "CA1"):
        with pytest.raises(TwilioRestException) as missing:
            await twilio.calls(call_sid).recordings("Twilio.CURRENT").update_async(status="paused")
        assert missing.value.status == 404
    with pytest.raises(TwilioException, match="404"):
        await twilio.calls("CA1").recordings.list_async()
    assert server.forms("/twiml/recording") == []


async def test_channels_that_are_none_are_refused(carrier: Carrier, twilio: Any) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await twilio.calls.create_async(to=TO, from_=FROM, twiml="<Response/>", record=True, recording_channels="three")
    assert refused.value.status == 400
    assert carrier.list_calls() == ()
