"""An organisation's telephone numbers: whose they are, who answers them, which one a call shows."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import phonenumbers
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.agents import repository
from voice_agent.agents.service import AgentService
from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.tables import PhoneNumberRow


class NumberService:
    """One for the process. Works in the caller's transaction."""

    def __init__(self, agents: AgentService, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._agents = agents
        self._clock = clock

    async def add(self, session: AsyncSession, principal: Principal, number: PhoneNumberRow) -> PhoneNumberRow:
        """Make a number the organisation's. Raises Conflict for one in use, InvalidRequest for an unknown agent."""
        if await repository.phone_number(session, number.e164) is not None:
            raise Conflict("this number is in use already")
        await self._check_agent(session, principal.org_id, number.agent_id)
        number.org_id, number.created_at = principal.org_id, self._clock()
        session.add(number)
        await session.flush()
        await self._audit(session, principal, "number.add", number)
        return number

    async def bind(
        self, session: AsyncSession, principal: Principal, number_id: UUID, *, agent_id: UUID | None, label: str
    ) -> PhoneNumberRow:
        """Say who answers a number. Raises NotFound for an unknown number, InvalidRequest for an unknown agent."""
        number = await self._number(session, principal.org_id, number_id)
        await self._check_agent(session, principal.org_id, agent_id)
        number.agent_id, number.label = agent_id, label
        await self._audit(session, principal, "number.bind", number)
        return number

    async def remove(self, session: AsyncSession, principal: Principal, number_id: UUID) -> None:
        """Give a number up. Raises NotFound."""
        number = await self._number(session, principal.org_id, number_id)
        await session.delete(number)
        await self._audit(session, principal, "number.remove", number)

    def country_of(self, e164: str) -> str:
        """Return the ISO 3166 code of a number's country; empty for a number that cannot exist."""
        try:
            parsed = phonenumbers.parse(e164, None)
        except phonenumbers.NumberParseException:
            return ""
        return (phonenumbers.region_code_for_number(parsed) or "") if phonenumbers.is_valid_number(parsed) else ""

    async def caller_number(self, session: AsyncSession, org_id: UUID, wanted: str) -> str:
        """Return the number to show: the wanted one, or the organisation's first. Raises InvalidRequest."""
        numbers = [row.e164 for row in await repository.phone_numbers(session, org_id)]
        if not numbers:
            raise InvalidRequest("from: the organisation has no telephone number yet")
        if wanted and wanted not in numbers:
            raise InvalidRequest("from: is none of the organisation's numbers")
        return wanted or numbers[0]

    async def _check_agent(self, session: AsyncSession, org_id: UUID, agent_id: UUID | None) -> None:
        if agent_id is None:
            return
        try:
            await self._agents.find(session, org_id, agent_id)
        except NotFound:  # which would say that the number is not there
            raise InvalidRequest("agent_id: there is no such agent") from None

    async def _number(self, session: AsyncSession, org_id: UUID, number_id: UUID) -> PhoneNumberRow:
        number = await session.get(PhoneNumberRow, number_id)
        if number is None or number.org_id != org_id:
            raise NotFound("there is no such number")
        return number

    async def _audit(self, session: AsyncSession, principal: Principal, action: str, number: PhoneNumberRow) -> None:
        after = {"e164": number.e164, "agent_id": None if number.agent_id is None else str(number.agent_id)}
        await audit.record(session, principal, action, target_kind="number", target_id=str(number.id), after=after)
