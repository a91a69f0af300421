"""A small run of bench/protocol_fuzz.py: real sockets, real server, generated messages."""

import asyncio

import uvloop

from bench.protocol_fuzz import draw_corpus, fuzz_watched

# libuv opens a pipe for signals with its first loop and keeps it as long as the process lives: no leak of a test.
uvloop.new_event_loop().close()


def test_g1_generated_messages_break_nothing_and_disturb_nobody() -> None:
    corpus = draw_corpus(size=200, seed_number=7)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(fuzz_watched(1_500, corpus, seed_number=7))
    assert outcome.received >= 1_500
    assert outcome.faults == []
    assert (outcome.leaked_tasks, outcome.leaked_descriptors, outcome.disturbed_calls) == (0, 0, 0)
