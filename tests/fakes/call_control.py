"""What was done to the call."""

from voice_agent.errors import CarrierError


class FakeCallControl:
    """`error`, where set, is raised by the next transfer."""

    def __init__(self) -> None:
        self.hang_ups = 0
        self.transfers: list[str] = []
        self.error: CarrierError | None = None

    async def hang_up(self) -> None:
        self.hang_ups += 1

    async def transfer(self, target: str) -> None:
        self.transfers.append(target)
        if self.error is not None:
            raise self.error
