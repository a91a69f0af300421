"""`<Connect><Stream>`: opening, ending, and what comes after."""

import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

from tests.sandbox.carrier.calling import NUMBERS, place, warnings
from tests.sandbox.carrier.server import FakeServer, Person, Wire
from voice_agent.sandbox.carrier import Carrier, CarrierSettings
from voice_agent.sandbox.carrier.journal import StreamClosed
from voice_agent.sandbox.carrier.webhooks import Routes


async def test_the_upgrade_is_signed_over_the_url_of_the_twiml(server: FakeServer) -> None:
    public = "https://calls.example.org"
    async with Carrier(CarrierSettings(routes={public: server.url})) as carrier:
        url = "wss://calls.example.org/media"
        server.documents["voice"] = f'<Response><Connect><Stream url="{url}"/></Connect></Response>'
        person = Person(hangs_up_after_frames=3)
        call = carrier.place_inbound_call(person, voice_url=f"{public}/twiml/voice", **NUMBERS)
        await call.ended.wait()
        validator = RequestValidator(carrier.settings.auth_token)
        given = server.upgrade_headers[0]["X-Twilio-Signature"]
        assert validator.validate(url, {}, given)
        path, form, headers = server.posts[0]
        assert validator.validate(public + path, form, headers["X-Twilio-Signature"])
        assert form["FromCity"] == ""


async def test_the_next_verb_runs_when_the_server_closes(carrier: Carrier, server: FakeServer) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("media")
        await wire.socket.close(code=4_401)

    server.hold = hold
    server.documents["after"] = "<Response><Hangup/></Response>"
    server.documents["voice"] = server.stream(after=f"<Redirect>{server.url}/twiml/after</Redirect>")
    call = place(carrier, server, Person())
    await call.ended.wait()
    closed = next(entry for entry in carrier.journal.of_call(call.record.sid) if isinstance(entry, StreamClosed))
    assert (closed.by, closed.close_code) == ("server", 4_401)
    assert len(server.forms("/twiml/after")) == 1


async def test_with_nothing_after_the_stream_the_call_ends(carrier: Carrier, server: FakeServer) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("media")

    server.hold = hold
    person = Person()
    call = place(carrier, server, person)
    await call.ended.wait()
    assert person.gone.is_set()
    assert call.record.status == "completed"


async def test_the_action_is_requested_after_the_stream(carrier: Carrier, server: FakeServer) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("media")

    server.hold = hold
    server.documents["voice"] = server.stream(connect='action="after"', after="<Say>never</Say>")
    call = place(carrier, server, Person())
    await call.ended.wait()
    assert server.forms("/twiml/after")[0]["CallSid"] == call.record.sid


async def test_a_socket_cut_without_a_close_frame_is_reported(carrier: Carrier, server: FakeServer) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("media")
        transport = wire.socket._req.transport if wire.socket._req else None
        assert transport is not None
        transport.abort()

    server.hold = hold
    call = place(carrier, server, Person())
    await call.ended.wait()
    assert warnings(carrier, call) == [31921]


@pytest.mark.parametrize(
    ("attributes", "url", "code"),
    [
        ("", "http://127.0.0.1:9/media", 31922),
        ("", "ws://calls.example.org/media", 31922),
        ("", "/media", 31923),
        ('track="both_tracks"', "ws://127.0.0.1:9/media", 31941),
        ("", "ws://127.0.0.1:9/media", 31902),
    ],
)
async def test_a_stream_that_cannot_be_opened_falls_through(
    carrier: Carrier, server: FakeServer, attributes: str, url: str, code: int
) -> None:
    server.documents["voice"] = (
        f'<Response><Connect><Stream url="{url}" {attributes} statusCallback="{server.url}/twiml/status"/></Connect>'
        f"<Redirect>{server.url}/twiml/after</Redirect></Response>"
    )
    call = place(carrier, server, Person())
    await call.ended.wait()
    assert warnings(carrier, call) == [code]
    assert len(server.forms("/twiml/after")) == 1
    status = (await server.wait_for("/twiml/status", 1))[0]
    assert status["StreamEvent"] == "stream-error"
    assert status["StreamError"].startswith(str(code))


async def test_a_refused_upgrade_is_31920(carrier: Carrier, server: FakeServer) -> None:
    url = server.stream_url.replace("/media", "/nowhere")
    server.documents["voice"] = f'<Response><Connect><Stream url="{url}"/></Connect></Response>'
    call = place(carrier, server, Person())
    await call.ended.wait()
    assert warnings(carrier, call) == [31920]


async def test_a_caller_may_hang_up_while_the_stream_is_being_opened(carrier: Carrier, server: FakeServer) -> None:
    person = Person(hangs_up_after_frames=2)

    async def admit(_: web.Request) -> None:
        await person.hung_up.wait()

    server.admit = admit
    call = place(carrier, server, person)
    await call.ended.wait()
    await server.ended.wait()
    assert [message["event"] for message in server.wires[0].received] == ["connected", "start", "stop"]


async def test_stream_events_are_told(carrier: Carrier, server: FakeServer) -> None:
    server.documents["voice"] = server.stream(attributes=f'name="n" statusCallback="{server.url}/twiml/status"')
    call = place(carrier, server, Person(hangs_up_after_frames=3))
    await call.ended.wait()
    forms = await server.wait_for("/twiml/status", 2)
    events = [(form["StreamEvent"], form["StreamName"]) for form in forms]
    assert events == [("stream-started", "n"), ("stream-stopped", "n")]


async def test_f47_a_stream_that_breaks_without_a_word_leads_to_the_action_at_another_worker(
    server: FakeServer, unused_tcp_port: int
) -> None:
    """The first worker is dead: nobody listens there any more. The call lives on with the next."""
    public = "https://calls.example.org"
    routes: Routes = {public: (f"http://127.0.0.1:{unused_tcp_port}", server.url)}
    async with Carrier(CarrierSettings(routes=routes)) as carrier:

        async def hold(wire: Wire) -> None:
            await wire.next("media")
            if len(server.wires) == 1:
                carrier.list_calls()[0].drop_stream()
                await wire.read_to_end()

        server.hold = hold
        stream = '<Response><Connect {}><Stream url="wss://calls.example.org/media"/></Connect></Response>'
        server.documents["voice"] = stream.format('action="again"')
        server.documents["again"] = stream.format("")
        call = carrier.place_inbound_call(Person(), voice_url=f"{public}/twiml/voice", **NUMBERS)
        await call.ended.wait()
    assert len(server.wires) == 2
    assert server.wires[0].of("stop") == []
    assert (call.record.status, len(server.forms("/twiml/again"))) == ("completed", 1)
