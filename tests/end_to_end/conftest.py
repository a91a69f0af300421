from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.end_to_end.stand import Stand, standing
from voice_agent.settings import AREAS, variable_name


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no .env of the machine that the tests run on."""
    monkeypatch.chdir(tmp_path)
    for area in AREAS.values():
        for field in area.model_fields:
            monkeypatch.delenv(variable_name(area, field), raising=False)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with standing(tmp_path) as running:
        yield running
