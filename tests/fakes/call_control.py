"""What was done to the call."""

from voice_agent.errors import CarrierError
from voice_agent.pipeline.ports import HeardOptOut


class FakeCallControl:
    """`error`, where set, is raised by the next transfer."""

    def __init__(self) -> None:
        self.hang_ups = 0
        self.reasons: list[str] = []
        self.transfers: list[str] = []
        self.opt_outs: list[HeardOptOut] = []
        self.error: CarrierError | None = None

    async def hang_up(self, reason: str = "agent") -> None:
        self.hang_ups += 1
        self.reasons.append(reason)

    async def transfer(self, target: str) -> None:
        self.transfers.append(target)
        if self.error is not None:
            raise self.error

    async def record_opt_out(self, heard: HeardOptOut) -> bool:
        self.opt_outs.append(heard)
        return True
