"""Who asks, and what they may do. Pure.

Roles are sets of permissions; an API key has its own set, never more than its creator had. Nothing else in the package
asks for a role: routes name the permission that they need.
"""

from enum import StrEnum
from uuid import UUID

import msgspec


class Permission(StrEnum):
    """Something that can be allowed. These words are also the scopes of API keys."""

    CALLS_READ = "calls:read"
    CALLS_WRITE = "calls:write"
    """Start, end and transfer calls, pause recordings."""

    CALLS_DELETE = "calls:delete"
    RECORDINGS_READ = "recordings:read"
    CONTACTS_READ = "contacts:read"
    CONTACTS_WRITE = "contacts:write"
    """Make and change contacts, tags, lists and custom fields; import."""

    CONTACTS_DELETE = "contacts:delete"
    CONTACTS_EXPORT = "contacts:export"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    """Make and change campaigns."""

    CAMPAIGNS_RUN = "campaigns:run"
    """Launch, pause and stop them."""

    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    COMPLIANCE_READ = "compliance:read"
    COMPLIANCE_WRITE = "compliance:write"
    """Record consents, suppress numbers, lift suppressions."""

    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    NUMBERS_READ = "numbers:read"
    NUMBERS_WRITE = "numbers:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    API_KEYS_READ = "api_keys:read"
    API_KEYS_WRITE = "api_keys:write"
    AUDIT_READ = "audit:read"
    ORGANISATION_READ = "organisation:read"
    ORGANISATION_WRITE = "organisation:write"


class Role(StrEnum):
    """What a user is in an organisation."""

    OWNER = "owner"
    MANAGER = "manager"
    """Runs campaigns, calls, agents and contacts; neither people nor keys."""

    ANALYST = "analyst"
    """Sees contacts, and sees and hears everything that calls leave behind."""

    VIEWER = "viewer"
    """Sees campaigns, and that calls take place; hears no recording, sees no contact."""


_P = Permission
_VIEWER = frozenset({_P.CALLS_READ, _P.CAMPAIGNS_READ, _P.AGENTS_READ, _P.NUMBERS_READ, _P.ORGANISATION_READ})
_ANALYST = _VIEWER | {_P.RECORDINGS_READ, _P.CONTACTS_READ, _P.COMPLIANCE_READ}
_MANAGER = _ANALYST | {
    _P.CALLS_WRITE,
    _P.CALLS_DELETE,
    _P.CONTACTS_WRITE,
    _P.CONTACTS_DELETE,
    _P.CONTACTS_EXPORT,
    _P.COMPLIANCE_WRITE,
    _P.CAMPAIGNS_WRITE,
    _P.CAMPAIGNS_RUN,
    _P.WEBHOOKS_READ,
    _P.WEBHOOKS_WRITE,
    _P.AGENTS_WRITE,
    _P.NUMBERS_WRITE,
    _P.MEMBERS_READ,
}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.MANAGER: _MANAGER,
    Role.ANALYST: _ANALYST,
    Role.VIEWER: _VIEWER,
}


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks, once they have proved who they are."""

    kind: str
    """user, api_key or system."""

    id: UUID | None
    name: str
    org_id: UUID
    permissions: frozenset[Permission]
    role: Role | None = None
    """Of a user."""

    address: str = ""
    """IP address."""

    def may(self, permission: Permission) -> bool:
        """Tell whether it may."""
        return permission in self.permissions


def system(org_id: UUID, name: str) -> Principal:
    """Return the principal of work that nobody asked for, such as `retention`."""
    return Principal(kind="system", id=None, name=name, org_id=org_id, permissions=frozenset(Permission))
