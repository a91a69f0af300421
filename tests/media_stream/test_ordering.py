import itertools

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.media_stream.ordering import AHEAD, REORDER_S, RESYNC_S, OrderCounts, Resequencer, TokenBucket


def test_items_in_turn_pass_at_once() -> None:
    order = Resequencer[str](5, now=0.0)
    assert [order.take(number, f"m{number}", 0.0) for number in (5, 6, 7)] == [("m5",), ("m6",), ("m7",)]
    assert order.counts == OrderCounts()


def test_an_early_item_waits_for_the_one_before_it() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(2, "b", 0.00) == ()
    assert order.take(3, "c", 0.02) == ()
    assert order.is_waiting
    assert order.take(1, "a", 0.04) == ("a", "b", "c")
    assert order.counts == OrderCounts(early=2)


def test_a_missing_number_is_given_up_after_the_wait() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(3, "c", 0.0) == ()
    assert order.expire(REORDER_S - 0.001) == ()
    assert order.expire(REORDER_S) == ("c",)
    assert order.take(2, "b", REORDER_S) == ()
    assert order.counts == OrderCounts(early=1, lost=2, duplicate=1)


def test_the_wait_also_ends_when_the_next_item_comes() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(2, "b", 0.0) == ()
    assert order.take(3, "c", REORDER_S) == ("b", "c")


def test_two_holes_do_not_add_up_their_waits() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(2, "b", 0.0) == ()
    assert order.take(4, "d", 0.05) == ()
    assert order.expire(0.10) == ("b",)
    assert order.expire(0.151) == ("d",)


def test_duplicates_are_dropped_waiting_or_taken() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(1, "a", 0.0) == ("a",)
    assert order.take(1, "a", 0.0) == ()
    assert order.take(3, "c", 0.0) == ()
    assert order.take(3, "c", 0.0) == ()
    assert order.counts.duplicate == 2


def test_a_number_far_ahead_does_not_mute_the_rest() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(1 + AHEAD + 1, "far", 0.0) == ()
    assert order.take(1, "a", 0.02) == ("a",)
    assert order.counts == OrderCounts(stray=1)


def test_after_a_silence_a_number_that_fits_the_time_is_believed() -> None:
    order = Resequencer[str](1, now=0.0)
    assert order.take(400, "z", 8.0) == ()
    assert order.expire(8.101) == ("z",)
    assert order.counts.lost == 399


def test_a_numbering_that_begins_anew_is_followed() -> None:
    order = Resequencer[str](1_000, now=0.0)
    assert order.take(1, "old", 0.1) == ()
    assert order.take(1_010, "early", RESYNC_S) == ()
    assert order.take(2, "new", RESYNC_S) == ("new",)
    assert order.take(3, "next", RESYNC_S) == ("next",)
    assert order.counts == OrderCounts(duplicate=1, early=1, stray=1)


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 0.002)), max_size=200))
def test_numbers_come_out_once_and_rising(arrivals: list[tuple[int, float]]) -> None:
    order = Resequencer[int](0, now=0.0)
    now = 0.0
    out: list[int] = []
    for number, pause in arrivals:
        now += pause
        out += order.take(number, number, now)
    out += order.expire(now + 1.0)
    assert all(earlier < later for earlier, later in itertools.pairwise(out))
    counts = order.counts
    assert len(out) + counts.duplicate + counts.stray == len(arrivals)
    assert not out or counts.lost == order.next_number - len(out)


def test_a_bucket_lets_a_burst_and_then_its_rate_pass() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=0.0)
    assert [bucket.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(1, 0.15)
    assert not bucket.take(1, 0.15)
    assert [bucket.take(1, 100.0) for _ in range(4)] == [True, True, True, False]


def test_after_a_pause_a_bucket_lets_at_most_two_bursts_pass() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=0.0)
    assert sum(bucket.take(1, 100.0) for _ in range(10)) == 6
