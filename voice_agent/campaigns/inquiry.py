"""Whether each of many contacts would be called: a chunk of them with everything that is known, and no database.

The answer is that of `eligibility`, which admits calls, at the first moment at which the hours would allow it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from voice_agent.calls.policy import CallPolicy
from voice_agent.campaigns.eligibility import Candidate, Later, Over, eligibility
from voice_agent.campaigns.plan import Plan
from voice_agent.campaigns.preflight_report import Counts
from voice_agent.campaigns.voices import Voice
from voice_agent.compliance.model import Callee
from voice_agent.compliance.rule_pack import RulePacks
from voice_agent.errors import InvalidRequest
from voice_agent.storage.tables import CampaignContactRow


class Inquiry(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk of contacts with everything that is known of them; no database is needed any more."""

    rows: Sequence[CampaignContactRow]
    plan: Plan
    policy: CallPolicy
    packs: RulePacks
    callees: dict[str, Callee]
    voices: dict[str, Voice]
    there: set[UUID]
    now: datetime

    def answers(self, counts: Counts) -> tuple[dict[UUID, str], Counts]:
        """Return the reason of each contact that would not be called, empty of the others; and the counts with them."""
        reasons: dict[UUID, str] = {}
        for row in self.rows:
            reason, is_waiting = self._answer(row)
            reasons[row.id] = reason[:200]
            if reason:
                counts = counts.with_skipped(reason, row.id)
                continue
            callee = self.callees[row.e164]
            place = " ".join((callee.country, *callee.regions, *callee.zones))
            counts = counts.with_kept(place, callee.country, row.e164, is_waiting=is_waiting)
        return reasons, counts

    def _answer(self, row: CampaignContactRow) -> tuple[str, bool]:
        candidate = Candidate(e164=row.e164, callee=self.callees.get(row.e164), is_there=row.contact_id in self.there)
        answer = eligibility(candidate, self.plan, self.policy, self.packs, self.now)
        is_waiting = isinstance(answer, Later)
        if isinstance(answer, Later):  # whether it is allowed then, too: a consent may end before
            answer = eligibility(candidate, self.plan, self.policy, self.packs, answer.at)
        if isinstance(answer, Over):
            return answer.reason, False
        voice = self.voices.get(row.variant)
        if voice is not None:
            try:
                voice.told(row.variables)
            except InvalidRequest as error:
                return f"variable_missing: {error}", False
        return "", is_waiting
