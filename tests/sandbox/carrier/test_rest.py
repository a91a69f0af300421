"""The REST interface and the life of calls, through Twilio's own SDK and by hand."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from tests.sandbox.carrier.server import FakeServer, Person, Wire
from voice_agent.sandbox.carrier import Callee, Carrier, CarrierSettings, RestError, wait_for_calls
from voice_agent.sandbox.carrier.journal import RestAnswered

# twilio's asynchronous client still signs in by what aiohttp 3.14 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]

TO, FROM = "+15005550006", "+15005550001"


@pytest.fixture
async def http() -> AsyncIterator[AsyncTwilioHttpClient]:
    client = AsyncTwilioHttpClient()
    yield client
    await client.close()


@pytest.fixture
def twilio(carrier: Carrier, http: AsyncTwilioHttpClient) -> Any:
    return client_of(carrier, http)


def client_of(carrier: Carrier, http: AsyncTwilioHttpClient) -> Any:
    client = Client(carrier.settings.account_sid, carrier.settings.auth_token, http_client=http)
    client.api.base_url = carrier.base_url
    return client


async def ended(carrier: Carrier, call_sid: str) -> None:
    call = carrier.find_call(call_sid)
    assert call is not None
    await wait_for_calls(call)


async def test_an_outbound_call_rings_is_answered_and_completes(
    carrier: Carrier, server: FakeServer, twilio: Any
) -> None:
    server.documents["voice"] = "<Response><Hangup/></Response>"
    carrier.register(TO, Callee(ring_s=0.0, person=Person))
    call = await twilio.calls.create_async(
        to=TO,
        from_=FROM,
        url=f"{server.url}/twiml/voice",
        status_callback=f"{server.url}/twiml/status",
        status_callback_event=["initiated", "ringing", "answered", "completed"],
    )
    assert (call.status, call.direction, call.duration) == ("queued", "outbound-api", None)
    await ended(carrier, call.sid)
    forms = await server.wait_for("/twiml/status", 4)
    assert [form["CallStatus"] for form in forms] == ["initiated", "ringing", "in-progress", "completed"]
    assert [form["SequenceNumber"] for form in forms] == ["0", "1", "2", "3"]
    assert {form["CallbackSource"] for form in forms} == {"call-progress-events"}
    assert (forms[3]["CallDuration"], forms[3]["SipResponseCode"]) == ("0", "200")
    fetched = await twilio.calls(call.sid).fetch_async()
    assert (fetched.status, fetched.duration) == ("completed", "0")


@pytest.mark.parametrize(
    ("callee", "timeout_s", "status", "sip"),
    [
        (Callee(outcome="busy", ring_s=0.0), 60, "busy", "486"),
        (Callee(outcome="failed", ring_s=0.0), 60, "failed", "404"),
        (Callee(outcome="no-answer"), 0, "no-answer", "487"),
        (Callee(ring_s=9.0, person=Person), 0, "no-answer", "487"),
    ],
)
async def test_a_call_that_is_not_answered(
    carrier: Carrier, server: FakeServer, twilio: Any, callee: Callee, timeout_s: int, status: str, sip: str
) -> None:
    carrier.register(TO, callee)
    call = await twilio.calls.create_async(
        to=TO, from_=FROM, twiml="<Response/>", timeout=timeout_s, status_callback=f"{server.url}/twiml/status"
    )
    await ended(carrier, call.sid)
    form = (await server.wait_for("/twiml/status", 1))[0]
    assert (form["CallStatus"], form["SipResponseCode"], form["SequenceNumber"]) == (status, sip, "0")


async def test_an_unknown_number_fails(carrier: Carrier, twilio: Any) -> None:
    call = await twilio.calls.create_async(to="+15005559999", from_=FROM, twiml="<Response/>")
    await ended(carrier, call.sid)
    assert (await twilio.calls(call.sid).fetch_async()).status == "failed"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": "", "twiml": "<Response/>"}, 21201),
        ({"to": "12345", "twiml": "<Response/>"}, 21211),
        ({"to": TO, "from_": "me", "twiml": "<Response/>"}, 21212),
        ({"to": TO}, 21205),
        ({"to": TO, "url": "ftp://x.example"}, 21205),
        ({"to": TO, "twiml": "<Response>"}, 12100),
        ({"to": TO, "twiml": f"<Response><Say>{'x' * 4_000}</Say></Response>"}, 21623),
    ],
)
async def test_refused_fields(twilio: Any, fields: dict[str, str], code: int) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await twilio.calls.create_async(**({"from_": FROM} | fields))
    assert (refused.value.code, refused.value.status) == (code, 400)


async def test_wrong_credentials_and_unknown_calls(carrier: Carrier, http: AsyncTwilioHttpClient) -> None:
    stranger = Client(carrier.settings.account_sid, "wrong", http_client=http)
    stranger.api.base_url = carrier.base_url
    with pytest.raises(TwilioRestException) as refused:
        await stranger.calls("CA1").fetch_async()
    assert (refused.value.code, refused.value.status) == (20003, 401)
    with pytest.raises(TwilioRestException) as missing:
        await client_of(carrier, http).calls("CA1").fetch_async()
    assert (missing.value.code, missing.value.status) == (20404, 404)
    async with aiohttp.ClientSession() as session, session.get(f"{carrier.base_url}/nothing") as response:
        assert response.status in (401, 404)


async def test_a_planned_refusal_is_given_once(carrier: Carrier, twilio: Any) -> None:
    carrier.refuse_next(RestError(429, 20429, "Too many requests"))
    with pytest.raises(TwilioRestException) as refused:
        await twilio.calls.create_async(to=TO, from_=FROM, twiml="<Response/>")
    assert (refused.value.code, refused.value.status) == (20429, 429)
    await twilio.calls.create_async(to=TO, from_=FROM, twiml="<Response/>")
    assert [entry.code for entry in carrier.journal if isinstance(entry, RestAnswered)] == [20429, 0]


async def test_new_twiml_tears_the_stream_down_and_runs(carrier: Carrier, server: FakeServer, twilio: Any) -> None:
    started = asyncio.Event()

    async def hold(wire: Wire) -> None:
        await wire.next("media")
        started.set()
        await wire.read_to_end()

    server.hold = hold
    server.documents["voice"] = server.stream(after="<Say>never</Say>")
    call = carrier.place_inbound_call(Person(), to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await started.wait()
    document = f"<Response><Redirect>{server.url}/twiml/next</Redirect></Response>"
    await twilio.calls(call.record.sid).update_async(twiml=document)
    await call.ended.wait()
    assert len(server.wires[0].of("stop")) == 1
    assert len(server.forms("/twiml/next")) == 1


async def test_completed_ends_a_call_and_a_second_update_is_21220(
    carrier: Carrier, server: FakeServer, twilio: Any
) -> None:
    server.documents["voice"] = server.stream()
    person = Person()
    call = carrier.place_inbound_call(
        person,
        to=TO,
        from_=FROM,
        voice_url=f"{server.url}/twiml/voice",
        status_callback=f"{server.url}/twiml/status",
    )
    await person.answered.wait()
    await twilio.calls(call.record.sid).update_async(status="completed")
    await call.ended.wait()
    assert call.record.status == "completed"
    assert (await server.wait_for("/twiml/status", 1))[0]["CallStatus"] == "completed"
    with pytest.raises(TwilioRestException) as refused:
        await twilio.calls(call.record.sid).update_async(status="completed")
    assert refused.value.code == 21220


async def test_a_ringing_call_is_canceled_and_a_queued_one_silently(
    server: FakeServer, http: AsyncTwilioHttpClient
) -> None:
    async with Carrier(CarrierSettings(calls_per_s=0.001)) as carrier:
        twilio = client_of(carrier, http)
        carrier.register(TO, Callee(ring_s=500.0, person=Person))
        fields = {
            "to": TO,
            "from_": FROM,
            "twiml": "<Response/>",
            "status_callback": f"{server.url}/twiml/status",
            "status_callback_event": ["ringing", "completed"],
        }
        ringing = await twilio.calls.create_async(**fields)
        queued = await twilio.calls.create_async(**fields)
        await server.wait_for("/twiml/status", 1)
        for call in (queued, ringing):
            await twilio.calls(call.sid).update_async(status="canceled")
            await ended(carrier, call.sid)
        forms = await server.wait_for("/twiml/status", 2)
        assert [(form["CallSid"], form["CallStatus"]) for form in forms] == [
            (ringing.sid, "ringing"),
            (ringing.sid, "canceled"),
        ]


async def test_the_list_is_filtered_and_paged(carrier: Carrier, twilio: Any) -> None:
    for number in ("+15005550010", "+15005550011", "+15005550010"):
        await twilio.calls.create_async(to=number, from_=FROM, twiml="<Response/>")
    everything = await twilio.calls.list_async(page_size=2)
    assert [call.to for call in everything] == ["+15005550010", "+15005550011", "+15005550010"]
    assert len(await twilio.calls.list_async(to="+15005550010")) == 2
    await wait_for_calls(*carrier.list_calls())


DETECTION = {"machine_detection": "Enable", "async_amd": "true"}


async def test_who_answers_is_told_beside_the_call(carrier: Carrier, server: FakeServer, twilio: Any) -> None:
    server.documents["voice"] = "<Response><Pause length='30'/></Response>"
    carrier.register(TO, Callee(ring_s=0.0, person=Person, nature="machine", detection_s=0.05))
    call = await twilio.calls.create_async(
        to=TO,
        from_=FROM,
        url=f"{server.url}/twiml/voice",
        status_callback=f"{server.url}/twiml/status",
        async_amd_status_callback=f"{server.url}/twiml/machine",
        **DETECTION,
    )
    form = (await server.wait_for("/twiml/machine", 1))[0]
    assert (form["AnsweredBy"], form["MachineDetectionDuration"], form["CallSid"]) == ("machine_start", "50", call.sid)
    assert "AnsweredBy" not in server.forms("/twiml/voice")[0]
    await twilio.calls(call.sid).update_async(status="completed")
    ending = (await server.wait_for("/twiml/status", 1))[0]
    fetched = await twilio.calls(call.sid).fetch_async()
    assert ending["AnsweredBy"] == fetched.answered_by == "machine_start"
    assert fetched.price == "-0.01400"


async def test_a_verdict_that_is_late_is_not_told(carrier: Carrier, server: FakeServer, twilio: Any) -> None:
    carrier.register(TO, Callee(ring_s=0.0, person=Person, detection_s=30.0))
    call = await twilio.calls.create_async(
        to=TO, from_=FROM, twiml="<Response/>", async_amd_status_callback=f"{server.url}/twiml/machine", **DETECTION
    )
    await ended(carrier, call.sid)
    assert server.forms("/twiml/machine") == []
    assert (await twilio.calls(call.sid).fetch_async()).answered_by is None


async def test_who_answers_is_part_of_the_request_where_the_call_waits_for_it(
    carrier: Carrier, server: FakeServer, twilio: Any
) -> None:
    """`AsyncAmd` is the text "true": Python's True leaves the caller in silence until the verdict."""
    server.documents["voice"] = "<Response/>"
    carrier.register(TO, Callee(ring_s=0.0, person=Person, detection_s=0.05))
    call = await twilio.calls.create_async(
        to=TO, from_=FROM, url=f"{server.url}/twiml/voice", machine_detection="Enable", async_amd=True
    )
    await ended(carrier, call.sid)
    assert server.forms("/twiml/voice")[0]["AnsweredBy"] == "human"


async def test_a_call_beyond_the_accounts_number_fails(server: FakeServer, http: AsyncTwilioHttpClient) -> None:
    async with Carrier(CarrierSettings(max_calls=1)) as carrier:
        twilio = client_of(carrier, http)
        carrier.register(TO, Callee(ring_s=500.0, person=Person))
        fields = {"to": TO, "from_": FROM, "twiml": "<Response/>", "status_callback": f"{server.url}/twiml/status"}
        await twilio.calls.create_async(**fields)
        surplus = await twilio.calls.create_async(**fields)
        form = (await server.wait_for("/twiml/status", 1))[0]
    assert (form["CallSid"], form["CallStatus"], form["ErrorCode"]) == (surplus.sid, "failed", "10004")
