"""Playout arithmetic: marks come back exactly when their audio has played, `clear` returns all of them."""

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.audio.mulaw import silence
from voice_agent.sandbox.carrier.playout import Playout, Span


def test_a_mark_with_nothing_before_it_is_echoed_at_once() -> None:
    playout = Playout()
    playout.advance(500)
    echoes: list[tuple[int, bool]] = []
    playout.mark(lambda sample, is_cleared: echoes.append((sample, is_cleared)))
    assert echoes == [(500, False)]


def test_audio_starts_at_the_sample_of_its_arrival() -> None:
    playout = Playout()
    playout.advance(37)
    playout.play(b"\x10" * 5)
    playout.advance(50)
    assert playout.take_heard(50) == silence(37) + b"\x10" * 5 + silence(8)
    assert playout.spans == [Span(37, 42)]


def test_audio_that_arrives_in_time_continues_the_span() -> None:
    playout = Playout()
    playout.play(b"a" * 100)
    playout.advance(60)
    playout.play(b"b" * 100)
    playout.advance(300)
    playout.play(b"c" * 10)
    playout.advance(400)
    assert playout.spans == [Span(0, 200), Span(300, 310)]


def test_clear_drops_the_rest_and_echoes_every_mark_in_order() -> None:
    playout = Playout()
    echoes: list[tuple[str, int, bool]] = []
    playout.play(b"a" * 100)
    playout.mark(lambda *echo: echoes.append(("one", *echo)))
    playout.play(b"b" * 100)
    playout.mark(lambda *echo: echoes.append(("two", *echo)))
    playout.advance(130)
    assert playout.clear() == 70
    assert echoes == [("one", 100, False), ("two", 130, True)]
    playout.advance(200)
    assert playout.take_heard(200) == b"a" * 100 + b"b" * 30 + silence(70)


def test_drop_forgets_marks_without_an_echo() -> None:
    playout = Playout()
    playout.play(b"a" * 100)
    playout.mark(lambda *_: (_ for _ in ()).throw(AssertionError("echoed")))
    playout.drop()
    playout.advance(200)
    assert playout.next_mark_sample is None


def test_the_next_mark_tells_when_it_will_come_due() -> None:
    playout = Playout()
    assert playout.next_mark_sample is None
    playout.advance(10)
    playout.play(b"a" * 100)
    playout.mark(lambda *_: None)
    playout.advance(50)
    assert playout.next_mark_sample == 110


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(1, 700)),
        st.tuples(st.just("play"), st.integers(0, 1_500)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=60,
)


@given(_STEPS)
def test_every_mark_returns_once_at_the_sample_where_its_audio_ends(steps: list[tuple[str, int]]) -> None:
    """Against a model that plays one sample at a time."""
    playout, now, value = Playout(), 0, 0
    model: list[int] = []
    heard: list[int] = []
    pending: list[tuple[int, int]] = []
    expected: list[tuple[int, int, bool]] = []
    echoes: list[tuple[int, int, bool]] = []
    marks = 0
    for kind, size in steps:
        if kind == "advance":
            for _ in range(size):
                heard.append(model.pop(0) if model else 0xFF)
                now += 1
                pending = [(name, left - 1) for name, left in pending]
                expected += [(name, now, False) for name, left in pending if left == 0]
                pending = [(name, left) for name, left in pending if left > 0]
            playout.advance(now)
        elif kind == "play":
            value = (value + 1) % 200
            model += [value] * size
            playout.play(bytes([value]) * size)
        elif kind == "mark":
            name = marks
            marks += 1
            if model:
                pending.append((name, len(model)))
            else:
                expected.append((name, now, False))
            playout.mark(lambda sample, is_cleared, name=name: echoes.append((name, sample, is_cleared)))  # type: ignore[misc]
        else:
            expected += [(name, now, True) for name, _ in pending]
            pending, dropped = [], len(model)
            model.clear()
            assert playout.clear() == dropped
    assert echoes == expected
    assert playout.take_heard(now) == bytes(heard)
    assert playout.buffered_bytes == len(model)
