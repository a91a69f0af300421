"""The REST interface over a database and a telephone company that does what a test says; and people who ask it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from tests.calls.stored_calls import OURS, POLICY
from tests.fakes.carrier import FakeCarrier
from voice_agent.agents.files import load_agent
from voice_agent.agents.numbers import NumberService
from voice_agent.agents.routes import agents_router
from voice_agent.agents.service import AgentService
from voice_agent.api.errors import install_error_handlers
from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Role
from voice_agent.auth.routes import identity_router, sign_in_router
from voice_agent.auth.service import IdentityService, owner_of
from voice_agent.calls.carrier_recordings import CarrierRecordings
from voice_agent.calls.holder import Command
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.routes import calls_router
from voice_agent.calls.service import CallPorts, CallService
from voice_agent.campaigns.assembly import CampaignPorts, CampaignServices
from voice_agent.campaigns.callback_routes import callbacks_router
from voice_agent.campaigns.dialling_routes import dialling_router
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.routes import campaigns_router
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.routes import compliance_router
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts.export import ContactExport
from voice_agent.contacts.export_routes import export_router
from voice_agent.contacts.fetching import FetchRules
from voice_agent.contacts.import_routes import imports_router
from voice_agent.contacts.imports import ImportPorts, Imports
from voice_agent.contacts.list_filling import ListFilling
from voice_agent.contacts.list_routes import lists_router
from voice_agent.contacts.lists import ContactListService
from voice_agent.contacts.routes import ContactServices, contacts_router
from voice_agent.directory import CallDirectory
from voice_agent.errors import HolderUnreachable
from voice_agent.integrations.twilio.addresses import TwilioAddresses
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.rest.file_links import PREFIX, files_router
from voice_agent.rest.transactions import Transactions
from voice_agent.settings import AuthSettings
from voice_agent.storage.cache import InProcessCache
from voice_agent.storage.database import Database
from voice_agent.storage.files import LinkOffice, LocalStorage
from voice_agent.storage.tables import PhoneNumberRow

URL = "http://api.test"
KEY = b"k" * 32
PASSWORD = "correct horse battery"
FEW = 3
"""Contacts that are looked at together, where the server looks at thousands."""


def now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


class FakeHolders:
    """The processes that hold calls: what they were asked, or nobody there."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Command]] = []
        self.is_there = True

    async def ask(self, call_sid: str, command: Command) -> None:
        """Implement `calls.service.Holders`."""
        if not self.is_there:
            raise HolderUnreachable("nobody answers")
        self.asked.append((call_sid, command))


class ApiWorld:
    """Made by `api_world`."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.cache = InProcessCache(clock=lambda: 0.0)
        self.identity = IdentityService(AuthSettings(), KEY, now)
        self.gate = Gate(database, KEY)
        self.agents = AgentService(now)
        self.numbers = NumberService(self.agents, now)
        self.carrier = FakeCarrier()
        self.holders = FakeHolders()
        self.directory = CallDirectory(self.agents, self.numbers, load_agent())
        links = LinkOffice(KEY, URL + PREFIX)
        self.storage = LocalStorage(folder / "files", links)
        self.recordings = CarrierRecordings(
            database,
            self.carrier,
            self.storage,
            JobOutbox(),
            data_dir=folder / "data",
            keeps_copy=False,
            clock=now,
        )
        self.compliance = ComplianceService(built_in(), clock=now)
        self.processor = CallProcessor(
            database, self.carrier, self.directory, policy=POLICY, on_recording=self.recordings.note
        )
        self.calls = CallService(
            CallPorts(
                database=database,
                compliance=self.compliance,
                carrier=self.carrier,
                agents=self.directory,
                addresses=TwilioAddresses("https://calls.example.org"),
                jobs=JobOutbox(),
                holders=self.holders,
            ),
            self.processor,
            default_policy=POLICY,
            clock=now,
        )
        self.contacts = ContactServices.over(
            database,
            JobOutbox(),
            self.compliance,
            zones_of_region=built_in().zones_of_region,
            clock=now,
        )
        # So few at a time that many chunks, windows and pages are needed.
        self.filling = ListFilling(database, JobOutbox(), now, window=FEW)
        self.lists = ContactListService(database, self.filling, now, counted_at_once=FEW)
        self.exports = ContactExport(database, self.contacts.contacts, now, page=FEW - 1, window=FEW)
        ports = ImportPorts(
            database=database,
            storage=self.storage,
            jobs=JobOutbox(),
            ledger=self.compliance,
            zones_of_region=built_in().zones_of_region,
        )
        self.imports = Imports(ports, data_dir=folder / "data", rules=FetchRules(), clock=now)
        self.campaigns = CampaignServices.over(
            CampaignPorts(
                database=database,
                jobs=JobOutbox(),
                compliance=self.compliance,
                lists=self.lists,
                calls=self.calls,
                policy=self.calls.policy,
            ),
            now,
        )
        self.processor.follow = self.campaigns.settling.follow
        transactions = Transactions(database)
        self.app = FastAPI()
        install_error_handlers(self.app)
        self.app.include_router(sign_in_router(self.identity, self.gate, transactions, self.cache))
        self.app.include_router(identity_router(self.identity, self.gate, transactions))
        self.app.include_router(agents_router(self.agents, self.numbers, self.gate, transactions))
        self.app.include_router(calls_router(self.calls, self.storage, self.gate, transactions))
        self.app.include_router(export_router(self.exports, self.gate))
        self.app.include_router(contacts_router(self.contacts, self.gate, transactions))
        self.app.include_router(lists_router(self.lists, self.contacts.contacts, self.gate, transactions))
        self.app.include_router(imports_router(self.imports.importer, self.imports.templates, self.gate, transactions))
        self.app.include_router(campaigns_router(self.campaigns, self.gate, transactions))
        self.app.include_router(dialling_router(Limits(), self.gate, transactions, clock=now))
        self.app.include_router(callbacks_router(self.campaigns.callbacks, self.gate, transactions, clock=now))
        self.app.include_router(compliance_router(self.compliance, self.gate, transactions, clock=now))
        self.app.include_router(files_router(self.storage, links))
        self.sound = folder / "sound.wav"
        """A file to store."""

        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=URL)

    async def organisation(self, name: str = "Harbour", number: str = OURS) -> UUID:
        """Make an organisation that can place calls: an owner, a number, a published agent."""
        async with self.database.write() as session:
            organisation = await self.identity.create_organisation(session, name)
            owner = owner_of(organisation.id)
            address = f"owner@{name.lower()}.test"
            await self.identity.invite(session, owner, address, Role.OWNER, password=PASSWORD)
            agent = load_agent()
            row, _ = await self.agents.create(session, owner, agent.definition.name, agent)
            await self.agents.publish(session, owner, row.id)
            await self.numbers.add(session, owner, PhoneNumberRow(e164=number, country="ES"))
        return organisation.id

    async def member(self, org_id: UUID, role: Role) -> dict[str, str]:
        """Return the headers of a new member."""
        address = f"{role.value}.{org_id.hex[-6:]}@people.test"
        async with self.database.write() as session:
            await self.identity.invite(session, owner_of(org_id), address, role, password=PASSWORD)
        return await self.signed_in(address)

    async def signed_in(self, email: str, password: str = PASSWORD) -> dict[str, str]:
        """Return the headers of somebody who signs in."""
        answer = await self.http.post("/api/v1/auth/sign-in", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def key(self, org_id: UUID, *scopes: Permission) -> dict[str, str]:
        """Return the headers of a program."""
        async with self.database.write() as session:
            _, key = await self.identity.create_key(session, owner_of(org_id), "program", scopes or tuple(Permission))
        return {"X-API-Key": key}

    async def ask(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
        """Make a request under /api/v1."""
        return await self.http.request(method, f"/api/v1{path}", headers=headers, json=body)


@asynccontextmanager
async def api_world(database: Database, folder: Path) -> AsyncIterator[ApiWorld]:
    """Put everything up, and down again."""
    world = ApiWorld(database, folder)
    try:
        yield world
    finally:
        await world.http.aclose()
        await world.processor.close()
