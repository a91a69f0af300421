"""The line's sample clock, with the time given by the test."""

import asyncio

from tests.sandbox.carrier.server import Person
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.sandbox.carrier.line import Line, LineClock


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_frame_is_exchanged_when_its_interval_is_over() -> None:
    clock, person = Clock(), Person(says=b"ab" * 160)
    sent: list[bytes] = []
    line = Line(person, clock)
    line.tap = sent.append
    clock.now_s += 0.0199
    line.tick()
    assert sent == []
    clock.now_s += 0.0002
    line.tick()
    assert sent == [b"ab" * 80]
    line.tick()
    assert len(sent) == 1


async def test_frames_of_every_line_are_complete_when_the_shared_clock_ticks() -> None:
    clock = Clock()
    ticks = LineClock(clock)
    lines = []
    for _ in range(3):
        lines.append(Line(Person(), clock))
        ticks.add(lines[-1], lambda: None)
        clock.now_s += 0.0067
    clock.now_s = 100.0 + 0.02
    assert [line.sample // FRAME_BYTES for line in lines] == [1, 1, 1]
    for line in lines:
        ticks.remove(line)


async def test_after_a_stall_the_missed_frames_follow_at_once() -> None:
    clock, person = Clock(), Person()
    sent: list[bytes] = []
    line = Line(person, clock)
    line.tap = sent.append
    clock.now_s += 0.1301
    line.tick()
    assert sent == [silence(FRAME_BYTES)] * 6
    assert len(person.heard) == 6 * FRAME_BYTES


async def test_audio_that_arrives_between_ticks_is_heard_from_that_sample_on() -> None:
    clock, person = Clock(), Person()
    line = Line(person, clock)
    clock.now_s += 0.03
    line.catch_up().play(b"\x10" * 1_000)
    clock.now_s += 0.2
    line.tick()
    assert person.heard.index(b"\x10") == 240
    assert person.heard.count(b"\x10") == 1_000


async def test_a_mark_comes_due_between_two_ticks_without_waiting_for_the_next() -> None:
    loop = asyncio.get_running_loop()
    line = Line(Person(), loop.time)
    echoed: asyncio.Future[int] = loop.create_future()
    line.catch_up().play(b"\x10" * 40)
    line.mark(lambda sample, _: echoed.set_result(sample))
    began = line.playout.spans[0].start if line.playout.spans else line.playout.sample
    assert await asyncio.wait_for(echoed, 5) == began + 40
    line.close()


async def test_one_timer_drives_all_lines_and_stops_with_the_last() -> None:
    loop = asyncio.get_running_loop()
    clock = LineClock(loop.time)
    people = [Person(hangs_up_after_frames=10_000) for _ in range(3)]
    lines = [Line(person, loop.time) for person in people]
    ticked = asyncio.Event()
    for line in lines:
        line.tap = lambda _: ticked.set()
        clock.add(line, lambda: None)
    await asyncio.wait_for(ticked.wait(), 5)
    for line in lines:
        clock.remove(line)
    heard = [len(person.heard) for person in people]
    await asyncio.sleep(0.03)
    assert [len(person.heard) for person in people] == heard
