"""What the REST interface of accounts takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from voice_agent.auth.audit import AuditFilter
from voice_agent.auth.principal import Permission, Role
from voice_agent.rest.inputs import WHOLE, Moment, Name, RequestBody, SearchText
from voice_agent.storage.tables import ApiKeyRow, AuditRow, MembershipRow, OrganisationRow, UserRow

LONGEST_ADDRESS = 320


def _kept(address: str) -> str:
    if len(address.lower()) > LONGEST_ADDRESS:  # a capital İ is two small characters
        raise ValueError(f"an address has at most {LONGEST_ADDRESS} characters")
    return address


Email = Annotated[
    str,
    StringConstraints(pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$", max_length=LONGEST_ADDRESS),
    AfterValidator(_kept),
]
Password = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class SignIn(RequestBody):
    """Address and password of a local account."""

    email: Email
    password: Password


class RefreshToken(RequestBody):
    """A refresh token."""

    refresh_token: Token


class TokensOut(BaseModel):
    """Tokens of one sign-in."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds.")
    refresh_token: str = Field(description="Good for one exchange.")


class PasswordChange(RequestBody):
    """A new password of one's own."""

    old_password: Password
    new_password: Password


class OrganisationName(BaseModel):
    """An organisation that one belongs to."""

    id: UUID
    name: str
    role: Role


class Me(BaseModel):
    """Who asks, and what they may do."""

    kind: str
    id: UUID | None
    name: str
    organisation_id: UUID
    role: Role | None
    permissions: list[Permission]
    organisations: list[OrganisationName]


class RecordingRule(RequestBody):
    """What is recorded, unless an agent says otherwise."""

    enabled: bool = True
    consent_line: str = Field("", max_length=500, description="Said before anything is recorded; empty: nothing.")


class OrganisationSettings(RequestBody):
    """What differs from the server's defaults; null: the default."""

    allowed_countries: list[Country] | None = Field(None, max_length=250, description="Countries that may be called.")
    daily_spend_cap: float | None = Field(None, ge=0, le=1_000_000, description="Of a day's calls, in US dollars.")
    retention_days: Annotated[int, Field(ge=0, le=36_500), WHOLE] | None = Field(
        None, description="Days that calls are kept; 0: for ever."
    )
    recording: RecordingRule | None = None


class OrganisationEdit(RequestBody):
    """What to change; what is left out stays."""

    name: Name | None = None
    settings: OrganisationSettings | None = None


class OrganisationOut(BaseModel):
    """An organisation."""

    id: UUID
    name: str
    settings: OrganisationSettings
    created_at: datetime

    @classmethod
    def of(cls, row: OrganisationRow) -> Self:
        """Return what the interface shows of a row."""
        settings = OrganisationSettings.model_validate(row.settings)
        return cls(id=row.id, name=row.name, settings=settings, created_at=row.created_at)


class Invitation(RequestBody):
    """Somebody who is to become a member."""

    email: Email
    role: Role = Field(strict=False)
    name: str = Field("", max_length=200)
    password: str = Field("", max_length=200, description="First password of a local account.")


class RoleChange(RequestBody):
    """A member's new role."""

    role: Role = Field(strict=False)


class MemberOut(BaseModel):
    """Somebody who belongs to the organisation."""

    user_id: UUID
    email: str
    name: str
    role: Role
    is_disabled: bool
    signed_in_at: datetime | None

    @classmethod
    def of(cls, membership: MembershipRow, user: UserRow) -> Self:
        """Return what the interface shows of the rows."""
        return cls(
            user_id=user.id,
            email=user.email,
            name=user.name,
            role=Role(membership.role),
            is_disabled=user.disabled_at is not None,
            signed_in_at=user.signed_in_at,
        )


class NewApiKey(RequestBody):
    """A key to make."""

    name: Name
    scopes: list[Annotated[Permission, Field(strict=False)]] = Field(min_length=1, max_length=len(Permission))
    lifetime_days: Annotated[int, Field(ge=1, le=3_650), WHOLE] | None = None


class ApiKeyOut(BaseModel):
    """A key, without itself."""

    id: UUID
    name: str
    prefix: str = Field(description="Its first characters, to recognise it by.")
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: ApiKeyRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class ApiKeyMade(ApiKeyOut):
    """A new key."""

    key: str = Field("", description="The key itself: shown now and never again.")


async def audit_filter(
    action: Annotated[SearchText, Query(max_length=40, description="An action, or how it begins: `agent.`.")] = "",
    actor_id: Annotated[UUID | None, Query(description="Who did it: a user or an API key.")] = None,
    since: Annotated[Moment | None, Query(description="From this moment on.")] = None,
    until: Annotated[Moment | None, Query(description="Before this moment.")] = None,
) -> AuditFilter:
    """Return which entries of the audit log are asked for. Not a plain function: those run in a thread each."""
    return AuditFilter(action=action, actor_id=actor_id, since=since, until=until)


class AuditOut(BaseModel):
    """An entry of the audit log."""

    id: UUID
    created_at: datetime
    actor_kind: str
    actor_id: UUID | None
    actor_name: str
    action: str
    target_kind: str
    target_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str

    @classmethod
    def of(cls, row: AuditRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)
