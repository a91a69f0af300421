"""Roles and permissions."""

from uuid import uuid4

from voice_agent.auth.principal import ROLE_PERMISSIONS, Permission, Principal, Role, system


def test_each_role_has_what_the_one_below_has() -> None:
    ordered = [ROLE_PERMISSIONS[role] for role in (Role.VIEWER, Role.ANALYST, Role.MANAGER, Role.OWNER)]

    assert all(lower < higher for lower, higher in zip(ordered, ordered[1:], strict=False))
    assert ordered[-1] == frozenset(Permission)


def test_only_owners_decide_about_people_and_keys() -> None:
    for role in (Role.VIEWER, Role.ANALYST, Role.MANAGER):
        assert not ROLE_PERMISSIONS[role] & {Permission.MEMBERS_WRITE, Permission.API_KEYS_WRITE, Permission.AUDIT_READ}


def test_the_system_may_do_everything_and_a_key_what_it_has() -> None:
    key = Principal(kind="api_key", id=None, name="k", org_id=uuid4(), permissions=frozenset({Permission.CALLS_READ}))

    assert key.may(Permission.CALLS_READ)
    assert not key.may(Permission.CALLS_WRITE)
    assert system(uuid4(), "retention").may(Permission.CALLS_DELETE)
