"""The contract of EventBus."""

import asyncio

import pytest

from voice_agent.storage.bus import Event, EventBus, Subscription, is_sequence

PATIENCE_S = 10.0


async def take(subscription: Subscription, count: int) -> list[Event]:
    """Return the next events; fail where they do not come."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(subscription) for _ in range(count)]


def bodies(events: list[Event]) -> list[bytes]:
    return [event.body for event in events]


class EventBusContract:
    """Inherit it, and override `bus` and `small_bus`."""

    @pytest.fixture
    async def bus(self) -> EventBus:
        raise NotImplementedError("the test class of a bus provides it")

    @pytest.fixture
    async def small_bus(self) -> EventBus:
        """Keep some events of a topic and no more than 500; subscribers may be 20 behind."""
        raise NotImplementedError("the test class of a bus provides it")

    async def test_what_is_published_after_the_beginning_comes_in_order(self, bus: EventBus) -> None:
        bus.publish("calls", b"before")
        async with bus.subscribe(["before"]):
            pass
        async with bus.subscribe(["calls"]) as subscription:
            for number in range(300):
                bus.publish("calls", b"%d" % number)
            events = [event for event in await take(subscription, 300) if event.body != b"before"]
            if len(events) < 300:
                events += await take(subscription, 1)

        assert bodies(events) == [b"%d" % number for number in range(300)]
        sequences = [event.sequence for event in events]
        assert sequences == sorted(set(sequences))
        assert all(map(is_sequence, sequences))
        assert {event.topic for event in events} == {"calls"}

    async def test_each_subscriber_has_its_topics_and_no_others(self, bus: EventBus) -> None:
        async with bus.subscribe(["a", "b", "a"]) as both, bus.subscribe(["b"]) as one:
            for topic in ("a", "c", "b"):
                bus.publish(topic, topic.encode())

            assert sorted(bodies(await take(both, 2))) == [b"a", b"b"]
            assert bodies(await take(one, 1)) == [b"b"]

    async def test_a_subscriber_that_left_changes_nothing_for_the_others(self, bus: EventBus) -> None:
        async with bus.subscribe(["a"]) as first:
            async with bus.subscribe(["a"]) as second:
                bus.publish("a", b"1")
                assert bodies(await take(second, 1)) == [b"1"]
            bus.publish("a", b"2")

            assert bodies(await take(first, 2)) == [b"1", b"2"]

    async def test_who_comes_back_goes_on_after_what_was_seen_last(self, bus: EventBus) -> None:
        async with bus.subscribe(["a"]) as subscription, bus.subscribe(["a"]) as other:
            for number in range(5):
                bus.publish("a", b"%d" % number)
            seen = (await take(subscription, 2))[-1].sequence
            await take(other, 5)

            async with bus.subscribe(["a"], since={"a": seen}) as again:
                bus.publish("a", b"new")
                assert bodies(await take(again, 4)) == [b"2", b"3", b"4", b"new"]
            async with bus.subscribe(["a"], since={"a": (await take(other, 1))[0].sequence}) as again:
                bus.publish("a", b"newer")
                assert bodies(await take(again, 1)) == [b"newer"]

    @pytest.mark.parametrize("since", ["00000000000001-0000000000", "99999999999999-0000000000", "", "nonsense", "-"])
    async def test_who_has_missed_what_is_not_kept_is_told_so(self, bus: EventBus, since: str) -> None:
        async with bus.subscribe(["a"]) as witness:
            bus.publish("a", b"1")
            await take(witness, 1)
            async with bus.subscribe(["a"], since={"a": since}) as subscription:
                gap, event = await take(subscription, 2)

        assert (gap.topic, gap.is_gap, gap.body) == ("a", True, b"")
        assert (event.is_gap, event.body) == (False, b"1")

    async def test_only_the_newest_events_are_kept(self, small_bus: EventBus) -> None:
        async with small_bus.subscribe(["a"]) as witness:
            small_bus.publish("a", b"first")
            first = (await take(witness, 1))[0].sequence
            for number in range(1, 1_000):
                small_bus.publish("a", b"%d" % number)
                if number % 10 == 0:
                    await take(witness, 10)
            await take(witness, 9)
            async with small_bus.subscribe(["a"], since={"a": first}) as subscription:
                gap, *_ = events = await take(subscription, 10)
                while events[-1].body != b"999":
                    events += await take(subscription, 1)

        assert gap.is_gap
        assert len(events) <= 501
        assert bodies(events[1:]) == [b"%d" % number for number in range(1_001 - len(events), 1_000)]

    async def test_a_subscriber_that_falls_too_far_behind_is_dropped_and_nobody_waits(
        self, small_bus: EventBus
    ) -> None:
        async with small_bus.subscribe(["a"]) as slow, small_bus.subscribe(["a"]) as quick:
            for number in range(60):
                small_bus.publish("a", b"%d" % number)
                await take(quick, 1)
            async with asyncio.timeout(PATIENCE_S):
                assert [event async for event in slow] == []

        assert slow.is_overrun
        assert not quick.is_overrun

    async def test_closing_twice_is_no_error(self, bus: EventBus) -> None:
        await bus.close()
        await bus.close()
