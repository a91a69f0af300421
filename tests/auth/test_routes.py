"""Accounts, people, keys and the audit log over REST, on SQLite and on Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Select, select, update

from tests.api.world import PASSWORD, ApiWorld, api_world
from voice_agent.auth import tokens
from voice_agent.auth.principal import Permission, Role
from voice_agent.auth.service import REUSE_GRACE_S
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ApiKeyRow, RefreshTokenRow, UserRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


async def test_whoever_signs_in_is_known(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.signed_in("OWNER@harbour.test")

    me = (await world.ask("GET", "/me", headers)).json()
    assert (me["organisation_id"], me["role"], me["kind"]) == (str(org_id), "owner", "user")
    assert set(me["permissions"]) == {permission.value for permission in Permission}
    assert [each["name"] for each in me["organisations"]] == ["Harbour"]


@pytest.mark.parametrize(
    ("email", "password"),
    [("owner@harbour.test", "wrong"), ("nobody@harbour.test", PASSWORD), ("owner@harbour.test", " " + PASSWORD)],
)
async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(
    world: ApiWorld, email: str, password: str
) -> None:
    await world.organisation()
    answer = await world.ask("POST", "/auth/sign-in", {}, {"email": email, "password": password})

    assert answer.status_code == 401
    assert answer.json()["detail"] == "address or password is wrong"


async def test_guessing_passwords_is_slowed_down(world: ApiWorld) -> None:
    await world.organisation()
    body = {"email": "owner@harbour.test", "password": "guess"}
    statuses = [(await world.ask("POST", "/auth/sign-in", {}, body)).status_code for _ in range(11)]
    refused = await world.ask("POST", "/auth/sign-in", {}, body)

    assert statuses == [401] * 10 + [429]
    assert int(refused.headers["Retry-After"]) > 0


async def test_a_refresh_token_is_good_for_once_and_a_stolen_one_ends_the_sign_in(world: ApiWorld) -> None:
    await world.organisation()
    signed_in = (
        await world.ask("POST", "/auth/sign-in", {}, {"email": "owner@harbour.test", "password": PASSWORD})
    ).json()
    first = {"refresh_token": signed_in["refresh_token"]}
    second = {"refresh_token": (await world.ask("POST", "/auth/refresh", {}, first)).json()["refresh_token"]}
    assert (await world.ask("POST", "/auth/refresh", {}, first)).status_code == 401
    third = {"refresh_token": (await world.ask("POST", "/auth/refresh", {}, second)).json()["refresh_token"]}

    async with world.database.write() as session:
        row = (await session.scalars(_token(first["refresh_token"]))).one()
        assert row.used_at is not None
        row.used_at -= timedelta(seconds=REUSE_GRACE_S + 1)
    assert (await world.ask("POST", "/auth/refresh", {}, first)).status_code == 401
    assert (await world.ask("POST", "/auth/refresh", {}, third)).status_code == 401


def _token(token: str) -> Select[RefreshTokenRow]:
    return select(RefreshTokenRow).where(RefreshTokenRow.token_hash == tokens.fingerprint(token))


async def test_signing_out_ends_the_refresh_tokens(world: ApiWorld) -> None:
    await world.organisation()
    body = {"email": "owner@harbour.test", "password": PASSWORD}
    refresh = {"refresh_token": (await world.ask("POST", "/auth/sign-in", {}, body)).json()["refresh_token"]}

    assert (await world.ask("POST", "/auth/sign-out", {}, refresh)).status_code == 204
    assert (await world.ask("POST", "/auth/refresh", {}, refresh)).status_code == 401


async def test_a_new_password_signs_out_everywhere(world: ApiWorld) -> None:
    await world.organisation()
    headers = await world.signed_in("owner@harbour.test")
    change = {"old_password": PASSWORD, "new_password": "another good password"}

    assert (await world.ask("POST", "/me/password", headers, {**change, "old_password": "no"})).status_code == 403
    assert (await world.ask("POST", "/me/password", headers, {**change, "new_password": "short"})).status_code == 422
    assert (await world.ask("POST", "/me/password", headers, change)).status_code == 204
    assert (await world.ask("GET", "/me", headers)).status_code == 401
    await world.signed_in("owner@harbour.test", "another good password")


async def test_members_come_change_and_go_but_an_owner_stays(world: ApiWorld) -> None:
    await world.organisation()
    owner = await world.signed_in("owner@harbour.test")
    invitation = {"email": "Ana@harbour.test", "role": "analyst", "password": PASSWORD}
    made = await world.ask("POST", "/members", owner, invitation)
    assert made.status_code == 201
    ana = made.json()["user_id"]
    assert (await world.ask("POST", "/members", owner, invitation)).status_code == 409

    assert (await world.ask("PATCH", f"/members/{ana}", owner, {"role": "manager"})).status_code == 204
    roles = {each["email"]: each["role"] for each in (await world.ask("GET", "/members", owner)).json()}
    assert roles == {"ana@harbour.test": "manager", "owner@harbour.test": "owner"}

    me = (await world.ask("GET", "/me", owner)).json()["id"]
    assert (await world.ask("PATCH", f"/members/{me}", owner, {"role": "viewer"})).status_code == 409
    assert (await world.ask("DELETE", f"/members/{me}", owner)).status_code == 409
    assert (await world.ask("DELETE", f"/members/{ana}", owner)).status_code == 204
    assert (await world.ask("DELETE", f"/members/{ana}", owner)).status_code == 404


async def test_two_owners_who_leave_at_once_do_not_both_leave(world: ApiWorld) -> None:
    org_id = await world.organisation()
    owner = await world.signed_in("owner@harbour.test")
    second = await world.member(org_id, Role.OWNER)
    ids = [(await world.ask("GET", "/me", headers)).json()["id"] for headers in (owner, second)]

    answers = await asyncio.gather(
        world.ask("DELETE", f"/members/{ids[0]}", owner), world.ask("DELETE", f"/members/{ids[1]}", second)
    )

    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_a_disabled_account_and_a_changed_role_count_at_once_where_the_gate_is_told(world: ApiWorld) -> None:
    org_id = await world.organisation()
    manager = await world.member(org_id, Role.MANAGER)
    me = (await world.ask("GET", "/me", manager)).json()
    owner = await world.signed_in("owner@harbour.test")
    await world.ask("PATCH", f"/members/{me['id']}", owner, {"role": "viewer"})
    assert (await world.ask("POST", "/agents", manager, {})).status_code == 403

    async with world.database.write() as session:
        user = await session.get_one(UserRow, UUID(me["id"]))
        user.disabled_at = user.created_at
    world.gate.forget()
    assert (await world.ask("GET", "/me", manager)).status_code == 401


async def test_a_key_is_shown_once_does_what_it_may_and_can_be_revoked(world: ApiWorld) -> None:
    org_id = await world.organisation()
    owner = await world.signed_in("owner@harbour.test")
    made = await world.ask("POST", "/api-keys", owner, {"name": "crm", "scopes": ["calls:read"]})
    assert made.status_code == 201
    key = made.json()["key"]
    assert key.startswith(made.json()["prefix"])

    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert (await world.ask("GET", "/calls", headers)).status_code == 200
        assert (await world.ask("GET", "/agents", headers)).status_code == 403
    listed = await world.ask("GET", "/api-keys", owner)
    assert key not in listed.text
    assert tokens.fingerprint(key) not in listed.text
    assert listed.json()[0]["last_used_at"] is not None

    key_id = made.json()["id"]
    other = await world.organisation("Other", "+34910000001")
    foreign = await world.key(other)
    assert (await world.ask("DELETE", f"/api-keys/{key_id}", foreign)).status_code == 404
    assert (await world.ask("DELETE", f"/api-keys/{key_id}", owner)).status_code == 204
    assert (await world.ask("GET", "/calls", {"X-API-Key": key})).status_code == 401
    async with world.database.read() as session:
        assert (await session.get_one(ApiKeyRow, UUID(key_id))).org_id == org_id


async def test_a_key_never_has_more_than_its_creator(world: ApiWorld) -> None:
    org_id = await world.organisation()
    maker = await world.key(org_id, Permission.API_KEYS_WRITE, Permission.CALLS_READ)

    refused = await world.ask("POST", "/api-keys", maker, {"name": "x", "scopes": ["calls:read", "agents:write"]})
    assert refused.status_code == 403
    assert "agents:write" in refused.json()["detail"]


async def test_an_expired_key_is_no_key(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    async with world.database.write() as session:
        await session.execute(update(ApiKeyRow).values(expires_at=ApiKeyRow.created_at))
    assert (await world.ask("GET", "/calls", headers)).status_code == 401


async def test_somebody_of_two_organisations_names_one(world: ApiWorld) -> None:
    first = await world.organisation()
    second = await world.organisation("Other", "+34910000001")
    owner = await world.signed_in("owner@harbour.test")
    other = await world.signed_in("owner@other.test")
    invitation = {"email": "owner@harbour.test", "role": "viewer"}
    assert (await world.ask("POST", "/members", other, invitation)).status_code == 201

    def there(org_id: object) -> dict[str, str]:
        return {**owner, "X-Organisation-Id": str(org_id)}

    assert (await world.ask("GET", "/me", owner)).json()["organisation_id"] == str(first)
    assert (await world.ask("GET", "/me", there(second))).json()["role"] == "viewer"
    assert (await world.ask("GET", "/members", there(second))).status_code == 403
    for stranger in (uuid4(), "nonsense"):
        assert (await world.ask("GET", "/me", there(stranger))).status_code == 401


async def test_an_organisation_is_edited_and_who_did_it_is_written_down(world: ApiWorld) -> None:
    await world.organisation()
    owner = await world.signed_in("owner@harbour.test")
    edit = {"name": "Harbour Two", "settings": {"allowed_countries": ["ES", "MX"], "daily_spend_cap": 5.5}}
    edited = await world.ask("PATCH", "/organisation", owner, edit)
    assert edited.json()["settings"]["allowed_countries"] == ["ES", "MX"]
    for wrong in ({"settings": {"allowed_countries": ["Spain"]}}, {"settings": {"daily_spend_cap": -1}}, {"nam": "x"}):
        assert (await world.ask("PATCH", "/organisation", owner, wrong)).status_code == 422

    log = (await world.ask("GET", "/audit-log?action=organisation.&limit=1", owner)).json()
    (entry,) = log["items"]
    assert (entry["action"], entry["before"]["name"], entry["after"]["name"]) == (
        "organisation.edit", "Harbour", "Harbour Two",
    )  # fmt: skip
    assert entry["actor_name"] == "owner@harbour.test"


async def test_the_audit_log_is_read_page_by_page(world: ApiWorld) -> None:
    await world.organisation()
    owner = await world.signed_in("owner@harbour.test")
    for number in range(5):
        await world.ask("PATCH", "/organisation", owner, {"name": f"Name {number}"})

    names, path = [], "/audit-log?action=organisation&limit=2"
    while path:
        page = (await world.ask("GET", path, owner)).json()
        names += [each["after"]["name"] for each in page["items"]]
        following = page["next_cursor"]
        path = f"/audit-log?action=organisation&limit=2&cursor={following}" if following else ""
    assert names == [f"Name {number}" for number in reversed(range(5))]
    assert (await world.ask("GET", "/audit-log?cursor=nonsense", owner)).status_code == 422
