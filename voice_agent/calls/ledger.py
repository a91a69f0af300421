"""What this process tells the others of its live calls: copies of their event logs, and that it holds them."""

from pathlib import Path

from voice_agent.calls.event_shipper import EventShipper
from voice_agent.calls.leases import Leases
from voice_agent.storage.database import Database


class CallLedger:
    """The database's side of live calls. `open` it before the first call, `close` it after the last."""

    def __init__(self, database: Database, data_dir: Path, *, worker: str) -> None:
        """`worker` is this run of this process, unlike any other."""
        self.database = database
        self.shipper = EventShipper(database, data_dir)
        self.leases = Leases(database, worker)

    async def open(self) -> None:
        """Begin."""
        await self.shipper.open()
        await self.leases.open()

    async def close(self) -> None:
        """Ship what can be shipped within moments, then end. Safe to call twice."""
        await self.leases.close()
        await self.shipper.close()
