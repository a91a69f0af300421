"""Compliance over REST: what is recorded is found, what is wrong is refused, organisations do not see each other."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.world import ApiWorld, api_world
from tests.calls.stored_calls import OURS
from tests.compliance.ledgers import AMERICAN, ANA, BEN
from voice_agent.auth.principal import Permission, Role
from voice_agent.storage.database import Database


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(sqlite, tmp_path) as world:
        yield world


@pytest.fixture
async def headers(world: ApiWorld) -> dict[str, str]:
    return await world.key(await world.organisation())


async def ok(world: ApiWorld, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
    answer = await world.ask(method, path, headers, body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def test_numbers_are_suppressed_found_and_lifted(world: ApiWorld, headers: dict[str, str]) -> None:
    body = {"numbers": [ANA, "+34 612 345 678", BEN], "reason": "a letter"}
    assert await ok(world, "POST", "/suppressions", headers, body) == {"asked": 2, "added": 2}
    assert await ok(world, "POST", "/suppressions", headers, body) == {"asked": 2, "added": 0}

    (found,) = (await ok(world, "GET", "/suppressions?number=%2B34612345678", headers))["items"]
    assert (found["number"], found["reason"], found["until"], found["source"]) == (ANA, "a letter", None, "api")
    lifted = await ok(world, "POST", f"/suppressions/{found['id']}/lift", headers, {"reason": " she asked us "})
    assert (lifted["lift_reason"], lifted["lifted_by"]) == ("she asked us", "program")
    assert (await world.ask("POST", f"/suppressions/{found['id']}/lift", headers, {"reason": "x"})).status_code == 409
    standing = (await ok(world, "GET", "/suppressions?is_lifted=false", headers))["items"]
    assert [each["number"] for each in standing] == [BEN]

    again = {"digests": [found["digest"]], "until": "2099-01-01T00:00:00Z"}
    assert await ok(world, "POST", "/suppressions", headers, again) == {"asked": 1, "added": 1}


async def test_a_refused_call_says_every_reason_and_is_listed(world: ApiWorld, headers: dict[str, str]) -> None:
    await ok(world, "POST", "/suppressions", headers, {"numbers": [ANA]})

    answer = await world.ask("POST", "/calls", headers, {"to": ANA, "purpose": "marketing"})
    assert answer.status_code == 403
    problem = answer.json()
    assert problem["type"] == "urn:voice-agent:problem:call-refused"
    assert {"suppressed", "consent_missing", "registry_unchecked"} <= {each["code"] for each in problem["reasons"]}
    assert all(each["detail"] and each["source"] for each in problem["reasons"])
    (call,) = (await ok(world, "GET", "/calls", headers))["items"]
    assert (call["state"], call["outcome"], call["purpose"]) == ("void", "blocked", "marketing")
    detail = await ok(world, "GET", f"/calls/{call['id']}", headers)
    assert detail["verdict"]["reasons"] == problem["reasons"]


async def test_consents_are_recorded_taken_back_and_decide(world: ApiWorld, headers: dict[str, str]) -> None:
    question = {"number": ANA, "purpose": "marketing", "at": "2030-06-05T10:00:00Z", "regions": ["ES-MD"]}
    assert not (await ok(world, "POST", "/may-call", headers, question))["is_allowed"]
    consent = {
        "number": ANA, "purpose": "marketing", "basis": "express", "wording_version": "3",
        "proof": {"form": "https://harbour.test"}, "expires_at": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    recorded = await ok(world, "POST", "/consents", headers, consent)
    assert recorded["expires_at"] < "2029"  # two years in Spain
    answer = await ok(world, "POST", "/may-call", headers, question | {"at": None, "zones": ["Europe/Madrid"]})
    assert {reason["code"] for reason in answer["reasons"]} <= {"outside_window", "holiday"}
    assert answer["next_legal_at"] is not None
    assert {duty["key"] for duty in answer["duties"]} >= {"disclose_ai", "caller_number"}

    taken_back = await ok(
        world, "POST", "/consents/revoke", headers, {"number": ANA, "basis": "message", "purposes": ["marketing"]}
    )
    assert [each["action"] for each in taken_back] == ["revoke"]
    assert len(await ok(world, "POST", "/consents/revoke", headers, {"number": BEN, "basis": "in_call"})) == 8
    listed = (await ok(world, "GET", "/consents?number=%2B34612345678&purpose=marketing", headers))["items"]
    assert [each["action"] for each in listed] == ["revoke", "grant"]
    answer = await ok(world, "POST", "/may-call", headers, question | {"at": None})
    assert "consent_revoked" in {reason["code"] for reason in answer["reasons"]}


async def test_registries_are_recorded_one_by_one_or_by_their_file(world: ApiWorld, headers: dict[str, str]) -> None:
    body = {"registry_key": "us_national_dnc", "results": [{"number": AMERICAN, "is_listed": False}]}
    assert await ok(world, "POST", "/registry-checks", headers, body) == {"recorded": 1}
    answer = await world.http.post(
        "/api/v1/registry-checks/file?registry_key=us_national_dnc&covers=%2B1305",
        headers=headers | {"Content-Type": "text/csv"},
        content="305,5550100\n305,5550101\n",
    )
    assert (answer.status_code, answer.json()) == (201, {"listed": 2, "clear": 0})

    (check,) = await ok(world, "GET", "/registry-checks?number=%2B13055550100", headers)
    assert (check["registry_key"], check["is_listed"], check["source"]) == ("us_national_dnc", True, "its file")


async def test_packs_are_shown_with_their_sources(world: ApiWorld, headers: dict[str, str]) -> None:
    packs = await ok(world, "GET", "/rule-packs", headers)

    assert [pack["jurisdiction"] for pack in packs] == ["ES", "EU", "MX", "US", "default"]
    assert any(source["verify"] for source in packs[0]["sources"])
    detail = await ok(world, "GET", "/rule-packs/US", headers)
    assert detail["content"]["regions"]["US-FL"]["windows"][0]["hours"][0]["closes"] == "20:00"
    assert (await world.ask("GET", "/rule-packs/XX", headers)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/suppressions", {}),
        ("POST", "/suppressions", {"numbers": ["Ana"]}),
        ("POST", "/suppressions", {"numbers": [ANA] * 1_001}),
        ("POST", "/suppressions", {"numbers": [ANA], "until": "9999-12-31T00:00:00Z"}),
        ("POST", "/suppressions", {"digests": ["x"]}),
        ("POST", "/consents", {"number": ANA, "purpose": "sales", "basis": "express"}),
        ("POST", "/consents", {"number": ANA, "purpose": "survey", "basis": "express", "at": "2098-01-01T00:00:00Z"}),
        ("POST", "/consents/revoke", {"number": ANA, "basis": "express", "purposes": []}),
        ("POST", "/registry-checks", {"registry_key": "nobody", "results": [{"number": ANA, "is_listed": True}]}),
        ("POST", "/registry-checks", {"registry_key": "mx_repep", "results": [{"number": ANA, "is_listed": True}],
                                      "checked_at": "2098-01-01T00:00:00Z"}),
        ("GET", "/registry-checks?number=", None),
        ("GET", "/suppressions?number=Ana", None),
        ("POST", "/may-call", {"number": ANA, "purpose": "marketing", "at": "1999-12-31T00:00:00Z"}),
        ("POST", "/calls", {"to": ANA, "purpose": "sales"}),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_refused(
    world: ApiWorld, headers: dict[str, str], method: str, path: str, body: Any
) -> None:
    assert (await world.ask(method, path, headers, body)).status_code == 422


async def test_a_file_that_is_no_text_is_refused(world: ApiWorld, headers: dict[str, str]) -> None:
    answer = await world.http.post(
        "/api/v1/registry-checks/file?registry_key=mx_repep",
        headers=headers | {"Content-Type": "text/csv"},
        content=b"\xff\xfe\x00",
    )
    assert answer.status_code == 422


async def test_a_key_repeats_nothing(world: ApiWorld, headers: dict[str, str]) -> None:
    keyed = headers | {"Idempotency-Key": "one"}
    first = await world.ask("POST", "/suppressions", keyed, {"numbers": [ANA]})
    again = await world.ask("POST", "/suppressions", keyed, {"numbers": [ANA]})

    assert first.json() == again.json() == {"asked": 1, "added": 1}
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_organisations_do_not_see_each_other(world: ApiWorld, headers: dict[str, str]) -> None:
    await ok(world, "POST", "/suppressions", headers, {"numbers": [ANA]})
    await ok(world, "POST", "/consents", headers, {"number": ANA, "purpose": "survey", "basis": "express"})
    (found,) = (await ok(world, "GET", "/suppressions", headers))["items"]
    stranger = await world.key(await world.organisation("Other", "+34910000001"))

    assert (await ok(world, "GET", "/suppressions", stranger))["items"] == []
    assert (await ok(world, "GET", "/consents", stranger))["items"] == []
    lift = await world.ask("POST", f"/suppressions/{found['id']}/lift", stranger, {"reason": "x"})
    assert lift.status_code == 404
    question = {"number": ANA, "purpose": "service"}
    assert (await ok(world, "POST", "/may-call", stranger, question))["is_allowed"]
    assert not (await ok(world, "POST", "/may-call", headers, question))["is_allowed"]


async def test_who_may_not_write_may_not_and_who_may_not_read_does_not(world: ApiWorld) -> None:
    org_id = await world.organisation()
    analyst, viewer = await world.member(org_id, Role.ANALYST), await world.member(org_id, Role.VIEWER)
    reader = await world.key(org_id, Permission.COMPLIANCE_READ)

    for asking in (analyst, reader):
        assert (await world.ask("GET", "/suppressions", asking)).status_code == 200
        assert (await world.ask("POST", "/suppressions", asking, {"numbers": [ANA]})).status_code == 403
    assert (await world.ask("GET", "/consents", viewer)).status_code == 403


async def test_a_test_call_goes_to_the_organisations_own_number_and_to_nobody_elses(
    world: ApiWorld, headers: dict[str, str]
) -> None:
    assert (await ok(world, "POST", "/may-call", headers, {"number": OURS, "purpose": "test"}))["is_allowed"]
    assert not (await ok(world, "POST", "/may-call", headers, {"number": ANA, "purpose": "test"}))["is_allowed"]
