"""The REST interface over an organisation that has one of everything, for tests that ask it thousands of questions.

The organisation is stored once and each test serves a copy of its database, so that none depends on what another did.
"""

import asyncio
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import URL
from starlette.types import Receive, Scope, Send

from tests.api.world import KEY, ApiWorld, api_world, now
from tests.calls.stored_calls import NOW, SID, a_call
from voice_agent.agents.files import load_agent
from voice_agent.api.health import health_router
from voice_agent.auth.principal import Permission, Role
from voice_agent.auth.service import owner_of
from voice_agent.auth.tokens import AccessClaims, issue_access_token
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ConversationEventRow, RecordingRow, TranscriptEntryRow, TurnLatencyRow


@dataclass(frozen=True, kw_only=True)
class Populated:
    """What is stored."""

    url: URL
    keys: dict[str, str]
    """Of one thing each, by the name that paths have for it."""

    owner: dict[str, str]
    """Headers of the owner, for a day."""


def populated(url: URL, folder: Path) -> Populated:
    """Fill an empty database that has its tables."""
    return asyncio.run(_populated(url, folder))


async def _populated(url: URL, folder: Path) -> Populated:
    database = Database(url)
    try:
        async with api_world(database, folder) as world:
            org_id = await world.organisation()
            call, recording = await _store_calls(world, org_id)
            owner = owner_of(org_id)
            async with database.write() as session:
                viewer = await world.identity.invite(session, owner, "viewer@harbour.test", Role.VIEWER)
                key, _ = await world.identity.create_key(session, owner, "program", (Permission.CALLS_READ,))
            headers = await world.signed_in("owner@harbour.test")
            claims = AccessClaims(user_id=UUID((await world.ask("GET", "/me", headers)).json()["id"]), epoch=0)
            (agent,) = (await world.ask("GET", "/agents", headers)).json()["items"]
            (number,) = (await world.ask("GET", "/phone-numbers", headers)).json()
            said = {"number": "+34612345678", "name": "Ana", "tags": ["VIP"], "email": "ana@port.example"}
            contact = (await world.ask("POST", "/contacts", headers, said)).json()
            field = (await world.ask("POST", "/custom-fields", headers, {"key": "city", "label": "City"})).json()
            bulk = {"action": "tag", "tag": "VIP", "contacts": [contact["id"]]}
            change_set = (await world.ask("POST", "/contacts/bulk", headers, bulk)).json()
            listed = (await world.ask("POST", "/lists", headers, {"name": "Spring"})).json()
            started = (await world.ask("POST", "/imports", headers, {"name": "people.csv"})).json()
            template = {"name": "CRM", "mapping": [{"header": "phone", "target": "phone"}]}
            kept = (await world.ask("POST", "/import-templates", headers, template)).json()
            await world.ask("POST", "/suppressions", headers, {"numbers": ["+34612345670"]})
            (suppressed,) = (await world.ask("GET", "/suppressions", headers)).json()["items"]
            plan = {"purpose": "service", "audience": {}, "variants": [{"agent_id": agent["id"]}]}
            campaign = (await world.ask("POST", "/campaigns", headers, {"name": "Spring", "plan": plan})).json()
            joined = {"contacts": [contact["id"]]}
            await world.ask("POST", f"/campaigns/{campaign['id']}/contacts", headers, joined)
            (callee,) = (await world.ask("GET", f"/campaigns/{campaign['id']}/contacts", headers)).json()["items"]
            word = {"key": "sold", "label": "Sold"}
            disposition = (await world.ask("POST", "/dispositions", headers, word)).json()
            async with database.write() as session:
                await world.agents.edit(session, owner, UUID(agent["id"]), load_agent(), note="a draft")
    finally:
        await database.close()
    keys = {
        "agent_id": agent["id"],
        "call_id": str(call),
        "campaign_contact_id": callee["id"],
        "campaign_id": campaign["id"],
        "change_set_id": change_set["id"],
        "contact_id": contact["id"],
        "disposition_id": disposition["id"],
        "field_id": field["id"],
        "tag_id": contact["tags"][0]["id"],
        "import_id": started["id"],
        "key_id": str(key.id),
        "list_id": listed["id"],
        "number_id": number["id"],
        "recording_id": str(recording),
        "suppression_id": suppressed["id"],
        "template_id": kept["id"],
        "user_id": str(viewer.id),
    }
    token = issue_access_token(KEY, claims, now=now(), lifetime_s=86_400)
    return Populated(url=url, keys=keys, owner={"Authorization": f"Bearer {token}"})


async def _store_calls(world: ApiWorld, org_id: UUID) -> tuple[UUID, UUID]:
    """Store a finished call and a live one; return the keys of the first and of its recording."""
    ended, live = a_call(org_id, state="ended"), a_call(org_id, state="in_progress", call_sid=SID)
    ended.ended_at, ended.outcome, ended.variables = NOW, "human", {"name": "Ana"}
    recording = RecordingRow(
        id=new_id(), org_id=org_id, call_id=ended.id, kind="stream", state="stored", created_at=NOW,
        storage_key="recordings/1.wav", peaks_key="recordings/1.json", duration_s=1.5,
    )  # fmt: skip
    said = TranscriptEntryRow(
        call_id=ended.id, n=0, org_id=org_id, kind="agent", started_at=0.5, ended_at=1.0, turn=1, text="Hello."
    )
    timed = TurnLatencyRow(
        call_id=ended.id, segment=0, turn=1, org_id=org_id, voice_to_voice_ms=450.0, parts={"llm_ms": 200.0}
    )
    line = ConversationEventRow(call_id=ended.id, segment=0, line=1, org_id=org_id, body='{"event":"x"}')
    async with world.database.write() as session:
        session.add_all([ended, live])
        await session.flush()
        session.add_all([recording, said, timed, line])
    return ended.id, recording.id


class Served:
    """An ASGI application: the interface over what is stored. ASGI's lifespan opens and closes it."""

    def __init__(self) -> None:
        self.stored: Populated | None = None
        self.folder = Path()
        self._copies = count()
        self._world: ApiWorld | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document of what is served while it is open."""
        return {} if self._world is None else self._world.app.openapi()

    def turn_to(self, stored: Populated, folder: Path) -> None:
        """Serve a copy of an SQLite database from the next opening on."""
        copy = folder / f"{next(self._copies)}.db"
        shutil.copy(str(stored.url.database), copy)
        self.stored = Populated(url=stored.url.set(database=str(copy)), keys=stored.keys, owner=stored.owner)
        self.folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Implement ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._world is not None:
            await self._world.app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self.stored is None:
            raise RuntimeError("there is nothing to serve yet")
        database = Database(self.stored.url)
        async with api_world(database, self.folder) as self._world:
            self._world.app.include_router(health_router({}))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        self._world = None
        await database.close()
        await send({"type": "lifespan.shutdown.complete"})
