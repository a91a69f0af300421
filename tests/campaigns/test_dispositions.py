"""There are only so many words; test_routes has how they are made, changed and taken away."""

import pytest

from tests.calls.stored_calls import NOW, an_organisation
from voice_agent.auth.principal import system
from voice_agent.campaigns import dispositions as module
from voice_agent.campaigns.dispositions import Dispositions
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.database import Database


async def test_each_organisation_has_its_own_words_and_not_endlessly_many(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = [system(await an_organisation(sqlite, name), "test") for name in ("Harbour", "Other")]
    words = Dispositions(lambda: NOW)
    monkeypatch.setattr(module, "MOST", 1)
    async with sqlite.write() as session:
        sold = await words.create(session, ours, "sold", label="Sold", is_goal=True, is_retried=False)
        with pytest.raises(Conflict, match="more are not allowed"):
            await words.create(session, ours, "lost", label="Lost", is_goal=False, is_retried=False)
        with pytest.raises(NotFound):
            await words.delete(session, theirs, sold.id)
        await words.create(session, theirs, "sold", label="Sold", is_goal=True, is_retried=False)
