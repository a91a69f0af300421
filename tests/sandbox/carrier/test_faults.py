"""What goes wrong with requests for a call (F36) and for a recording (F46), by order and by chance."""

from voice_agent.sandbox.carrier.faults import (
    CreateFault,
    CreateFaultPlan,
    CreateFaults,
    RecordingFault,
    RecordingFaultPlan,
    RecordingFaults,
)


def test_without_a_plan_nothing_goes_wrong() -> None:
    plan = CreateFaultPlan(CreateFaults())
    assert [plan.next() for _ in range(100)] == [None] * 100
    assert not plan.injected


def test_what_was_ordered_comes_first_and_once() -> None:
    plan = CreateFaultPlan(CreateFaults())
    plan.order(CreateFault.BUSY, None, CreateFault.RESET)
    assert [plan.next() for _ in range(4)] == [CreateFault.BUSY, None, CreateFault.RESET, None]
    assert plan.injected == {CreateFault.BUSY: 1, CreateFault.RESET: 1}


def test_chances_are_kept_and_the_seed_repeats_them() -> None:
    faults = CreateFaults(reply_lost=0.5, busy=0.25, seed=7)
    plan, again = CreateFaultPlan(faults), CreateFaultPlan(faults)
    drawn = [plan.next() for _ in range(2_000)]
    assert drawn == [again.next() for _ in range(2_000)]
    assert 900 < plan.injected[CreateFault.REPLY_LOST] < 1_100
    assert 400 < plan.injected[CreateFault.BUSY] < 600
    assert set(plan.injected) == {CreateFault.REPLY_LOST, CreateFault.BUSY}


def test_what_is_certain_always_happens() -> None:
    plan = CreateFaultPlan(CreateFaults(slow=1.0))
    assert {plan.next() for _ in range(50)} == {CreateFault.SLOW}


def test_f46_the_first_requests_for_a_recording_find_nothing_and_take_nothing_from_the_order() -> None:
    plan = RecordingFaultPlan(RecordingFaults(not_ready_first=1, broken=1.0))
    plan.order(RecordingFault.FAILED)
    assert [plan.next_of(fetch) for fetch in (1, 1, 2, 3)] == [
        RecordingFault.NOT_READY, RecordingFault.NOT_READY, RecordingFault.FAILED, RecordingFault.BROKEN,
    ]  # fmt: skip
