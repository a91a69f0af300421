"""The media socket, from the server's side, on a real connection."""

from aiohttp import WSCloseCode

from tests.sandbox.carrier.calling import place, warnings
from tests.sandbox.carrier.server import FakeServer, Person, Wire
from voice_agent.sandbox.carrier import Carrier
from voice_agent.sandbox.carrier.journal import Cleared, MarkEchoed


async def test_the_stream_introduces_itself_and_sends_frames_in_order(carrier: Carrier, server: FakeServer) -> None:
    said = bytes(range(1, 101)) * 8
    call = place(carrier, server, Person(says=said, hangs_up_after_frames=10))
    await call.ended.wait()
    wire = server.wires[0]
    connected, start, *rest = wire.received
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["sequenceNumber"] == "1"
    assert start["start"] == {
        "accountSid": carrier.settings.account_sid,
        "streamSid": wire.stream_sid,
        "callSid": call.record.sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"ticket": "t1"},
    }
    assert [message["sequenceNumber"] for message in rest] == [str(number) for number in range(2, len(rest) + 2)]
    assert [message["event"] for message in rest] == ["media"] * (len(rest) - 1) + ["stop"]
    assert rest[-1]["stop"] == {"accountSid": carrier.settings.account_sid, "callSid": call.record.sid}
    for number, message in enumerate(rest[:-1]):
        media = message["media"]
        assert isinstance(media, dict)
        assert (media["track"], media["chunk"], media["timestamp"]) == ("inbound", str(number + 1), str(20 * number))
        assert len(media["payload"]) == 216


async def test_marks_return_when_their_audio_has_been_heard(carrier: Carrier, server: FakeServer) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("start")
        await wire.mark("empty")
        await wire.next("mark")
        await wire.play(b"\x11" * 1_000)
        await wire.mark("one")
        await wire.play(b"\x22" * 777)
        await wire.mark("two")
        await wire.next("mark")
        await wire.next("mark")

    server.hold = hold
    person = Person()
    call = place(carrier, server, person)
    await call.ended.wait()
    echoed = [entry for entry in carrier.journal.of_call(call.record.sid) if isinstance(entry, MarkEchoed)]
    assert [(entry.name, entry.is_cleared) for entry in echoed] == [("empty", False), ("one", False), ("two", False)]
    began = call.leg.line.playout.spans[0].start
    assert [entry.sample - began for entry in echoed[1:]] == [1_000, 1_777]
    heard = bytes(person.heard)
    assert heard.count(b"\x11") == 1_000
    assert heard[began : began + 1_000] == b"\x11" * 1_000


async def test_clear_silences_the_line_and_returns_every_mark(carrier: Carrier, server: FakeServer) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("start")
        await wire.play(b"\x11" * 40_000)
        await wire.mark("a")
        await wire.mark("b")
        for _ in range(3):
            await wire.next("media")
        await wire.clear()
        await wire.next("mark")
        await wire.next("mark")

    server.hold = hold
    person = Person()
    call = place(carrier, server, person)
    await call.ended.wait()
    entries = carrier.journal.of_call(call.record.sid)
    cleared = next(entry for entry in entries if isinstance(entry, Cleared))
    echoed = [entry for entry in entries if isinstance(entry, MarkEchoed)]
    span = call.leg.line.playout.spans[0]
    assert cleared.dropped_bytes == 40_000 - (span.end - span.start)
    assert [(entry.name, entry.sample, entry.is_cleared) for entry in echoed] == [
        ("a", cleared.sample, True),
        ("b", cleared.sample, True),
    ]


async def test_what_is_not_in_the_protocol_is_reported_once_a_stream_and_ignored(
    carrier: Carrier, server: FakeServer
) -> None:
    async def hold(wire: Wire) -> None:
        await wire.next("start")
        for _ in range(2):
            await wire.socket.send_bytes(b"\x00")
            await wire.socket.send_str("{")
            await wire.socket.send_json(
                {"event": "media", "streamSid": wire.stream_sid, "media": {"payload": "/w=="}, "x": 1}
            )
            await wire.socket.send_json({"event": "clear", "streamSid": "MZother"})
            await wire.socket.send_json({"event": "dance", "streamSid": wire.stream_sid})
        await wire.mark("still alive")
        await wire.next("mark")

    server.hold = hold
    call = place(carrier, server, Person())
    await call.ended.wait()
    assert warnings(carrier, call) == [31950, 31951]
    assert call.leg.line.playout.spans == []


async def test_keys_are_reported_while_the_stream_holds_the_line(carrier: Carrier, server: FakeServer) -> None:
    call = place(carrier, server, Person(presses="5#", hangs_up_after_frames=12))
    await call.ended.wait()
    assert [message["dtmf"] for message in server.wires[0].of("dtmf")] == [
        {"track": "inbound_track", "digit": "5"},
        {"track": "inbound_track", "digit": "#"},
    ]


async def test_the_close_handshake_of_the_carrier_is_normal(carrier: Carrier, server: FakeServer) -> None:
    call = place(carrier, server, Person(hangs_up_after_frames=3))
    await call.ended.wait()
    assert server.wires[0].socket.close_code == WSCloseCode.OK
