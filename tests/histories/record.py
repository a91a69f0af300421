"""Record the histories again: `python -m tests.histories.record [NAME ...]`, after a meant change of the turn machine.

Each is the event log of one real call: a simulated caller, the sandbox carrier, the product and the provider doubles,
on sockets. Look at what has changed before it is committed: a history is there to show decisions that nobody meant.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.end_to_end.stand import Stand, standing
from voice_agent.calls.record import call_files
from voice_agent.sandbox.callers.scenario import (
    Backchannel,
    HangUp,
    Interrupt,
    Press,
    Say,
    Step,
    WaitForAgent,
)
from voice_agent.sandbox.providers import Fault, FaultKind, FaultPlan, Service

FOLDER = Path(__file__).parent


class History(msgspec.Struct, frozen=True):
    """How a call is brought about."""

    steps: tuple[Step, ...]
    faults: tuple[tuple[Service, Fault], ...] = ()
    """For every connection of a service."""


def _ask(text: str, *then: Step) -> tuple[Step, ...]:
    return (WaitForAgent(), Say(text=text), *then)


HISTORIES = {
    "two_turns": History(_ask("what does it cost?", *_ask("and when can I come?", WaitForAgent(), HangUp()))),
    "interrupted": History(
        _ask("are you open today?", Interrupt(say="no what does it cost?"), WaitForAgent(), HangUp())
    ),
    "backchannel": History(_ask("are you open today?", Backchannel(), WaitForAgent(), HangUp())),
    "keys": History((WaitForAgent(), Press(keys="42#"), WaitForAgent(), HangUp())),
    "silence": History((WaitForAgent(),)),
    "hung_up_mid_reply": History(_ask("are you open today?", WaitForAgent(until="begins"), HangUp())),
    "agent_ends": History(_ask("thank you and bye")),
    "model_fails": History(
        _ask("what does it cost?", *_ask("and when can I come?")),
        ((Service.OPENAI_CHAT, Fault(FaultKind.STATUS, status=500)),),
    ),
    "voice_fails": History(
        _ask("what does it cost?"), ((Service.ELEVENLABS_TTS, Fault(FaultKind.STATUS, status=401)),)
    ),
    "recognition_fails": History((WaitForAgent(),), ((Service.ELEVENLABS_STT, Fault(FaultKind.STATUS, status=401)),)),
}


async def _record(stand: Stand, history: History) -> bytes:
    for service, fault in history.faults:
        stand.doubles.plan(service, FaultPlan((fault,), repeat=True))
    held = await stand.call(*history.steps)
    return call_files(stand.data_dir, held.call_sid).event_log.read_bytes()


async def main(names: list[str]) -> None:
    """Record the histories of these names, all by default."""
    for name in names or HISTORIES:
        with tempfile.TemporaryDirectory() as folder:
            async with standing(Path(folder)) as stand:
                (FOLDER / f"{name}.jsonl").write_bytes(await _record(stand, HISTORIES[name]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
