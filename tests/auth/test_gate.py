"""The gate: every route against every bad identity, on the whole interface."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, text
from starlette.requests import HTTPConnection

from tests.api.world import KEY, ApiWorld, api_world
from tests.auth.walk import bad_tokens, guarded_routes, statuses
from voice_agent.auth.gate import REMEMBERED_S, ExternalIdentity, Gate
from voice_agent.auth.principal import Permission, Role
from voice_agent.errors import NotAuthenticated
from voice_agent.storage.database import Database
from voice_agent.storage.tables import UserRow


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(sqlite, tmp_path) as world:
        yield world


def connection(*, token: str = "", peer: str = "10.0.0.1", **headers: str) -> HTTPConnection:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent["authorization"] = f"Bearer {token}"
    raw = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
    return HTTPConnection({"type": "http", "headers": raw, "client": (peer, 1)})


async def test_g17_no_route_answers_a_bad_identity(world: ApiWorld) -> None:
    await world.organisation()
    async with world.database.read() as session:
        user_id = str((await session.scalars(select(UserRow.id))).one())
    assert len(list(guarded_routes(world.app))) >= 30

    for why, token in {"none": "", **bad_tokens(KEY, user_id)}.items():
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answered = await statuses(world.http, world.app, headers)
        assert set(answered.values()) == {401}, (why, answered)
    for headers in ({"X-API-Key": "va_guess"}, {"Authorization": "Basic b3duZXI6cGFzcw=="}, {"Authorization": "va_x"}):
        assert set((await statuses(world.http, world.app, headers)).values()) == {401}


async def test_g17_a_role_reaches_what_it_may_and_nothing_else(world: ApiWorld) -> None:
    """The whole table: what each role is refused. A new route has to be put into it."""
    org_id = await world.organisation()
    refused = {}
    for role in Role:
        headers = await world.member(org_id, role)
        answered = await statuses(world.http, world.app, headers)
        assert 401 not in answered.values()
        refused[role] = sum(status == 403 for status in answered.values())

    total = len(list(guarded_routes(world.app)))
    assert refused[Role.OWNER] == 0
    assert refused[Role.OWNER] < refused[Role.MANAGER] < refused[Role.ANALYST] < refused[Role.VIEWER] < total


async def test_g17_a_disabled_user_is_nobody(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.member(org_id, Role.OWNER)
    async with world.database.write() as session:
        for user in await session.scalars(select(UserRow)):
            user.disabled_at = user.created_at
    world.gate.forget()

    assert set((await statuses(world.http, world.app, headers)).values()) == {401}


async def test_who_asks_is_believed_for_some_seconds_and_then_looked_up_again(sqlite: Database, tmp_path: Path) -> None:
    now_s = 0.0
    async with api_world(sqlite, tmp_path) as world:
        org_id = await world.organisation()
        key = (await world.key(org_id, Permission.CALLS_READ))["X-API-Key"]
        gate = Gate(sqlite, KEY, clock=lambda: now_s)
        await gate.identify(connection(token=key))
        async with sqlite.write() as session:
            await session.execute(text("UPDATE api_key SET revoked_at = created_at"))

        assert (await gate.identify(connection(token=key))).kind == "api_key"
        now_s = REMEMBERED_S
        with pytest.raises(NotAuthenticated):
            await gate.identify(connection(token=key))


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "1.1.1.1", "10.0.0.1"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (2, "1.1.1.1", "1.1.1.1"),
        (1, "", "10.0.0.1"),
    ],
)
def test_only_trusted_proxies_say_whence_a_request_comes(
    sqlite: Database, proxies: int, forwarded: str, address: str
) -> None:
    gate = Gate(sqlite, KEY, trusted_proxies=proxies)

    assert gate.address(connection(X_Forwarded_For=forwarded)) == address


class Provider:
    """An identity provider that knows one person."""

    def __init__(self, email: str) -> None:
        self.email = email

    async def verify(self, token: str) -> ExternalIdentity:
        if token != "theirs":
            raise NotAuthenticated("no")
        return ExternalIdentity(external_id="ext-1", email=self.email)


async def test_an_identity_providers_user_needs_an_invitation_to_a_confirmed_address(
    database: Database, tmp_path: Path
) -> None:
    async with api_world(database, tmp_path) as world:
        await world.organisation()
        for email in ("", "stranger@harbour.test"):
            with pytest.raises(NotAuthenticated, match="invited"):
                await Gate(database, KEY, external=Provider(email)).identify(connection(token="theirs"))

        gate = Gate(database, KEY, external=Provider("owner@harbour.test"))
        assert (await gate.identify(connection(token="theirs"))).name == "owner@harbour.test"
        # From now on it is theirs, whatever address the provider tells.
        again = Gate(database, KEY, external=Provider(""))
        assert (await again.identify(connection(token="theirs"))).role is Role.OWNER
        with pytest.raises(NotAuthenticated):
            await again.identify(connection(token="somebody else's"))
