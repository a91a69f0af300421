"""The parts of the slice, and what they register."""

from typing import Any

from tests.api.world import ApiWorld, api_world
from voice_agent.storage.database import Database


class Registry:
    """Jobs that note what there is to do."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def register(self, kind: str, *_: Any, **__: Any) -> None:
        """Note a kind of jobs."""
        self.kinds.append(kind)

    def every(self, name: str, *_: Any) -> None:
        """Note periodic work."""
        self.kinds.append(name)


async def test_everything_that_is_asked_for_has_somebody_who_does_it(sqlite: Database, tmp_path: Any) -> None:
    registry = Registry()
    world: ApiWorld
    async with api_world(sqlite, tmp_path) as world:
        world.campaigns.register(registry)  # type: ignore[arg-type]

    assert sorted(registry.kinds) == [
        "campaign.cancel_calls", "campaign.follow_audience", "campaign.gather", "campaign.open_contacts",
        "campaign.validate", "live_audiences",
    ]  # fmt: skip
