import asyncio
import time

from voice_agent.sandbox.providers.outbox import Outbox, Outgoing


async def sent_by(outbox: Outbox, count: int) -> list[Outgoing]:
    sent: list[Outgoing] = []
    enough = asyncio.Event()

    async def transmit(message: Outgoing) -> None:
        sent.append(message)
        if len(sent) == count:
            enough.set()

    task = asyncio.create_task(outbox.run(transmit))
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return sent


async def test_messages_go_out_in_the_order_of_their_moments() -> None:
    outbox, now_s = Outbox(), time.monotonic()
    outbox.put(b"late", due_s=now_s + 0.02)
    outbox.put(b"early", due_s=now_s + 0.01)
    outbox.put(b"at once")
    outbox.put(b"next")
    assert [message.payload for message in await sent_by(outbox, 4)] == [b"at once", b"next", b"early", b"late"]


async def test_no_message_goes_out_before_its_moment() -> None:
    outbox, due_s = Outbox(), time.monotonic() + 0.03
    outbox.put(b"x", due_s=due_s)
    await sent_by(outbox, 1)
    assert time.monotonic() >= due_s


async def test_a_message_put_while_waiting_overtakes() -> None:
    outbox = Outbox()
    outbox.put(b"never", due_s=time.monotonic() + 60)
    asyncio.get_running_loop().call_soon(outbox.put, b"now")
    assert (await sent_by(outbox, 1))[0].payload == b"now"


async def test_dropped_messages_are_not_sent() -> None:
    outbox = Outbox()
    for key in ("a", "b", "a", "c"):
        outbox.put(key.encode(), key=key)
    outbox.drop(lambda message: message.key == "a")
    assert [message.payload for message in await sent_by(outbox, 2)] == [b"b", b"c"]


async def test_the_last_message_of_a_key_is_reported_when_it_has_been_sent() -> None:
    outbox = Outbox()
    reported: list[str] = []
    outbox.on_last = reported.append
    outbox.put(b"audio", key="turn")
    outbox.put(b"final", key="turn", is_last=True)
    outbox.close(1000)
    sent = await sent_by(outbox, 3)
    assert reported == ["turn"]
    assert [message.close_code for message in sent] == [0, 0, 1000]
