"""The bus of one process, and what a subscription gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.event_bus import EventBusContract, bodies, take
from voice_agent.storage.bus import Event, EventBus, InProcessBus, Subscription, is_sequence, sequence_of


class TestInProcessBus(EventBusContract):
    @pytest.fixture
    async def bus(self) -> EventBus:
        return InProcessBus()

    @pytest.fixture
    async def small_bus(self) -> EventBus:
        return InProcessBus(kept=500, backlog=20)


@given(st.lists(st.integers(0, 2_000_000_000_000), min_size=2, max_size=20))
async def test_sequences_increase_whatever_the_clock_does(times: list[int]) -> None:
    moments = iter(times)
    bus = InProcessBus(clock=lambda: next(moments) / 1_000)
    async with bus.subscribe(["a"]) as subscription:
        for _ in times:
            bus.publish("a", b"")
        sequences = [event.sequence for event in await take(subscription, len(times))]

    assert sequences == sorted(set(sequences))
    assert all(map(is_sequence, sequences))


async def test_the_topic_in_which_nothing_has_happened_for_longest_leaves_first() -> None:
    bus = InProcessBus(kept_together=4)
    async with bus.subscribe(["a", "b", "c"]) as witness:
        for topic in ("a", "b", "b", "a", "c"):
            bus.publish(topic, b"")
        seen = {event.topic: event.sequence for event in await take(witness, 5)}

        async with bus.subscribe(["a", "c"], since=seen) as subscription:
            bus.publish("a", b"next")
            assert bodies(await take(subscription, 1)) == [b"next"]
        async with bus.subscribe(["b"], since=seen) as subscription:
            assert (await take(subscription, 1))[0].is_gap


async def test_what_is_replayed_does_not_count_as_being_behind() -> None:
    subscription = Subscription(backlog=2)
    subscription.replay(Event(topic="a", sequence=sequence_of(1, number)) for number in range(10))
    for number in range(2):
        subscription.take(Event(topic="a", sequence=sequence_of(2, number)))
    assert not subscription.is_overrun

    for number in range(2):
        subscription.take(Event(topic="a", sequence=sequence_of(3, number)))
    assert [event async for event in subscription] == []


async def test_what_was_given_already_is_left_out() -> None:
    subscription = Subscription()
    for milliseconds in (1, 2, 2, 1, 3):
        subscription.take(Event(topic="a", sequence=sequence_of(milliseconds, 0)))

    assert [event.sequence[:14] for event in await take(subscription, 3)] == [f"{each:014d}" for each in (1, 2, 3)]


def test_sequences_have_one_form() -> None:
    assert is_sequence(sequence_of(1_795_000_000_000, 7))
    assert not any(map(is_sequence, ["", "1-1", "0" * 14 + "-" + "0" * 11, "٣" * 14 + "-" + "0" * 10, "\n"]))
