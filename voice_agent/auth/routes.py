"""The REST interface of accounts, people, keys and the audit log."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit, repository
from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal, Role
from voice_agent.auth.schemas import (
    ApiKeyMade,
    ApiKeyOut,
    AuditOut,
    Invitation,
    Me,
    MemberOut,
    NewApiKey,
    OrganisationEdit,
    OrganisationName,
    OrganisationOut,
    PasswordChange,
    RefreshToken,
    RoleChange,
    SignIn,
    TokensOut,
    audit_filter,
)
from voice_agent.auth.service import IdentityService, StolenToken, Tokens
from voice_agent.errors import NotFound
from voice_agent.rest.limits import SIGN_INS_BY_ACCOUNT, SIGN_INS_BY_ADDRESS, check
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.cache import CacheService

Id = UUID


def _shown(tokens: Tokens) -> TokensOut:
    return TokensOut(
        access_token=tokens.access_token, expires_in=tokens.expires_in_s, refresh_token=tokens.refresh_token
    )


def sign_in_router(identity: IdentityService, gate: Gate, transactions: Transactions, cache: CacheService) -> APIRouter:
    """Return the routes of local accounts: the only ones that need no credential, so they are rate limited."""
    router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]

    @router.post("/sign-in", responses=refusals(401))
    async def sign_in(request: Request, body: SignIn) -> TokensOut:
        """Exchange address and password for tokens."""
        await check(cache, SIGN_INS_BY_ADDRESS, gate.address(request))
        await check(cache, SIGN_INS_BY_ACCOUNT, body.email.lower())
        async with transactions.database.read() as session:  # a stranger's guess must not hold up who writes
            user_id = await identity.prove(session, body.email, body.password)
        async with transactions.database.write() as session:
            return _shown(await identity.sign_in(session, user_id))

    @router.post("/refresh", responses=refusals(401))
    async def refresh(request: Request, body: RefreshToken) -> TokensOut:
        """Exchange a refresh token for new tokens; it is good for once."""
        await check(cache, SIGN_INS_BY_ADDRESS, gate.address(request))
        stolen: StolenToken | None = None
        tokens: Tokens | None = None
        async with transactions.database.write() as session:
            try:
                tokens = await identity.refresh(session, body.refresh_token)
            except StolenToken as error:  # its family's end is to be committed
                stolen = error
        if tokens is None:
            raise stolen or StolenToken("sign in again")
        return _shown(tokens)

    @router.post("/sign-out", status_code=status.HTTP_204_NO_CONTENT)
    async def sign_out(request: Request, body: RefreshToken, session: Writing) -> None:
        """Make the refresh tokens of a sign-in worthless."""
        await check(cache, SIGN_INS_BY_ADDRESS, gate.address(request))
        await identity.sign_out(session, body.refresh_token)

    return router


def identity_router(identity: IdentityService, gate: Gate, transactions: Transactions) -> APIRouter:
    """Return the routes about oneself, the organisation, its people, keys and audit log."""
    router = APIRouter(prefix="/api/v1")
    router.include_router(_oneself_router(identity, gate, transactions))
    router.include_router(_organisation_router(identity, gate, transactions))
    router.include_router(_keys_router(identity, gate, transactions))
    router.include_router(_audit_router(gate, transactions))
    return router


def _oneself_router(identity: IdentityService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(tags=["auth"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Anybody = Annotated[Principal, Depends(gate.signed_in)]

    @router.get("/me")
    async def get_me(principal: Anybody, session: Reading) -> Me:
        """Say who asks and what they may do."""
        found = await repository.memberships(session, principal.id) if principal.kind == "user" and principal.id else ()
        return Me(
            kind=principal.kind,
            id=principal.id,
            name=principal.name,
            organisation_id=principal.org_id,
            role=principal.role,
            permissions=sorted(principal.permissions),
            organisations=[OrganisationName(id=o.id, name=o.name, role=Role(m.role)) for m, o in found],
        )

    @router.post("/me/password", status_code=status.HTTP_204_NO_CONTENT)
    async def change_password(principal: Anybody, body: PasswordChange, session: Writing) -> None:
        """Change one's own password; it signs out everywhere."""
        await identity.change_password(session, principal, body.old_password, body.new_password)
        gate.forget()

    return router


def _organisation_router(identity: IdentityService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(tags=["organisation"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.ORGANISATION_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.ORGANISATION_WRITE))]
    PeopleReader = Annotated[Principal, Depends(gate.allow(Permission.MEMBERS_READ))]
    PeopleWriter = Annotated[Principal, Depends(gate.allow(Permission.MEMBERS_WRITE))]

    @router.get("/organisation")
    async def get_organisation(principal: Reader, session: Reading) -> OrganisationOut:
        """Return the organisation and its settings."""
        return OrganisationOut.of(await identity.organisation(session, principal))

    @router.patch("/organisation")
    async def edit_organisation(
        principal: Writer,
        body: OrganisationEdit,
        session: Writing,
    ) -> OrganisationOut:
        """Change name or settings. Settings are replaced as a whole."""
        settings = None if body.settings is None else body.settings.model_dump(exclude_none=True)
        return OrganisationOut.of(await identity.edit_organisation(session, principal, body.name, settings))

    @router.get("/members")
    async def list_members(principal: PeopleReader, session: Reading) -> list[MemberOut]:
        """List the organisation's people."""
        return [MemberOut.of(m, user) for m, user in await repository.members(session, principal.org_id)]

    @router.post("/members", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def invite_member(principal: PeopleWriter, body: Invitation, session: Writing) -> MemberOut:
        """Make somebody a member."""
        user = await identity.invite(session, principal, body.email, body.role, name=body.name, password=body.password)
        await session.flush()
        membership = await repository.membership(session, principal.org_id, user.id)
        if membership is None:
            raise NotFound("there is no such member")
        return MemberOut.of(membership, user)

    @router.patch("/members/{user_id}", status_code=status.HTTP_204_NO_CONTENT, responses=refusals(409))
    async def change_member_role(
        principal: PeopleWriter,
        user_id: Id,
        body: RoleChange,
        session: Writing,
    ) -> None:
        """Give a member another role."""
        await identity.change_role(session, principal, user_id, body.role)
        gate.forget()

    @router.delete("/members/{user_id}", status_code=status.HTTP_204_NO_CONTENT, responses=refusals(409))
    async def remove_member(principal: PeopleWriter, user_id: Id, session: Writing) -> None:
        """End a membership."""
        await identity.remove(session, principal, user_id)
        gate.forget()

    return router


def _keys_router(identity: IdentityService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(tags=["api-keys"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.API_KEYS_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.API_KEYS_WRITE))]

    @router.get("/api-keys")
    async def list_api_keys(principal: Reader, session: Reading) -> list[ApiKeyOut]:
        """List the organisation's keys."""
        return [ApiKeyOut.of(row) for row in await repository.api_keys(session, principal.org_id)]

    @router.post("/api-keys", status_code=status.HTTP_201_CREATED)
    async def create_api_key(principal: Writer, body: NewApiKey, session: Writing) -> ApiKeyMade:
        """Make a key; this answer is the only one that shows it."""
        row, key = await identity.create_key(
            session, principal, body.name, body.scopes, lifetime_days=body.lifetime_days
        )
        return ApiKeyMade.of(row).model_copy(update={"key": key})

    @router.delete("/api-keys/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def revoke_api_key(principal: Writer, key_id: Id, session: Writing) -> None:
        """Make a key worthless."""
        await identity.revoke_key(session, principal, key_id)
        gate.forget()

    return router


def _audit_router(gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(tags=["audit"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.AUDIT_READ))]

    @router.get("/audit-log")
    async def list_audit_log(
        principal: Reader,
        session: Reading,
        chosen: Annotated[audit.AuditFilter, Depends(audit_filter)],
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> Page[AuditOut]:
        """List who did what, newest first."""
        rows = await audit.page(session, principal.org_id, chosen, before=place(cursor), limit=limit + 1)
        return Page[AuditOut].of(rows, limit, AuditOut.of)

    return router
