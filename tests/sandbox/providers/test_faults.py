import msgspec
import pytest

from voice_agent.sandbox.providers.faults import Fault, FaultDesk, FaultKind, FaultPlan, Gate, Step, garble
from voice_agent.sandbox.providers.journal import Service

RESET = Fault(FaultKind.RESET)
STALL = Fault(FaultKind.STALL)


def test_a_plan_is_consumed_in_order_and_then_all_is_well() -> None:
    desk = FaultDesk()
    desk.plan(Service.GEMINI, FaultPlan((RESET, None, STALL)))
    assert [desk.take(Service.GEMINI) for _ in range(5)] == [RESET, None, STALL, None, None]
    assert desk.take(Service.OPENAI_CHAT) is None


def test_a_repeated_plan_begins_again() -> None:
    desk = FaultDesk()
    desk.plan(Service.GEMINI, FaultPlan((RESET, None), repeat=True))
    assert [desk.take(Service.GEMINI) for _ in range(5)] == [RESET, None, RESET, None, RESET]


def test_a_probable_fault_depends_on_the_seed_alone() -> None:
    def drawn(seed: int) -> list[Fault | None]:
        desk = FaultDesk()
        desk.plan(Service.GEMINI, FaultPlan((RESET, STALL), probability=0.5, seed=seed))
        return [desk.take(Service.GEMINI) for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) == {RESET, STALL, None}


def test_cleared_plans_do_nothing() -> None:
    desk = FaultDesk()
    desk.plan(Service.GEMINI, FaultPlan((RESET,)))
    desk.clear()
    assert desk.take(Service.GEMINI) is None


def steps(fault: Fault | None, count: int = 4) -> list[Step]:
    gate = Gate(fault)
    return [gate.judge(b"0123456789") for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (FaultKind.LATE_FIRST_BYTE, Step.DELAY),
        (FaultKind.MALFORMED, Step.GARBLE),
        (FaultKind.OUT_OF_ORDER, Step.HOLD),
        (FaultKind.ERROR, Step.ERROR),
    ],
)
def test_some_faults_happen_once(kind: FaultKind, step: Step) -> None:
    assert steps(Fault(kind)) == [step, Step.SEND, Step.SEND, Step.SEND]
    assert steps(Fault(kind, after_messages=2)) == [Step.SEND, Step.SEND, step, Step.SEND]


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (FaultKind.STALL, Step.SWALLOW),
        (FaultKind.RESET, Step.RESET),
        (FaultKind.CLOSE, Step.CLOSE),
        (FaultKind.TRUNCATE, Step.TRUNCATE),
    ],
)
def test_some_faults_last(kind: FaultKind, step: Step) -> None:
    assert steps(Fault(kind, after_messages=2)) == [Step.SEND, Step.SEND, step, step]
    assert steps(Fault(kind, after_bytes=15)) == [Step.SEND, Step.SEND, step, step]


@pytest.mark.parametrize(
    "kind", [FaultKind.SLOW_CONNECT, FaultKind.STATUS, FaultKind.HUGE, FaultKind.SILENCE, FaultKind.SLOW_READ]
)
def test_other_faults_leave_the_messages_alone(kind: FaultKind) -> None:
    assert steps(Fault(kind)) == steps(None) == [Step.SEND] * 4


@pytest.mark.parametrize("payload", [b'{"a":"b"}', b'data: {"a":[1,2]}\r\n\r\n'])
def test_a_garbled_message_cannot_be_decoded_but_ends_its_line(payload: bytes) -> None:
    broken = garble(payload)
    assert broken.endswith(payload[len(payload.rstrip()) :])
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(broken.removeprefix(b"data: "))


def test_a_plan_is_read_from_json() -> None:
    plan = msgspec.json.decode(b'{"faults":[{"kind":"status","status":429,"retry_after_s":1.5},null]}', type=FaultPlan)
    assert plan.faults == (Fault(FaultKind.STATUS, status=429, retry_after_s=1.5), None)
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.json.decode(b'{"faults":[{"kind":"earthquake"}]}', type=FaultPlan)
