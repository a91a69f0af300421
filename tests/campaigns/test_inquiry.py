"""Whether each of many contacts would be called, and what is counted of it; test_preflight has the rest."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.calls.stored_calls import POLICY
from tests.campaigns.stored_campaigns import a_document
from voice_agent.campaigns.inquiry import Inquiry
from voice_agent.campaigns.plan import read_plan
from voice_agent.campaigns.preflight_report import Counts
from voice_agent.compliance.model import Callee, SuppressionFact
from voice_agent.compliance.packs import built_in
from voice_agent.storage.tables import CampaignContactRow

NIGHT = datetime(2026, 11, 25, 23, tzinfo=UTC)
NUMBERS = [f"+3461234560{index}" for index in range(5)]


def callee(e164: str, *suppressions: SuppressionFact) -> Callee:
    return Callee(e164=e164, country="ES", zones=("Europe/Madrid",), suppressions=suppressions)


def test_each_is_kept_waits_for_its_hours_or_has_a_reason() -> None:
    for_good = SuppressionFact(scope="organisation", source="call", at=NIGHT)
    for_an_hour = SuppressionFact(scope="organisation", source="call", at=NIGHT, until=NIGHT + timedelta(hours=1))
    kept, refused, unknown, gone, back_soon = NUMBERS
    rows = [
        CampaignContactRow(id=UUID(int=n), contact_id=UUID(int=n), e164=e164, variant="a", variables={})
        for n, e164 in enumerate(NUMBERS)
    ]
    inquiry = Inquiry(
        rows=rows,
        plan=read_plan(a_document(windows=[{"days": ["wed", "thu"], "opens": "09:00", "closes": "20:00"}])),
        policy=POLICY,
        packs=built_in(),
        callees={
            kept: callee(kept),
            refused: callee(refused, for_good),
            gone: callee(gone),
            back_soon: callee(back_soon, for_an_hour),
        },
        voices={},
        there={row.contact_id for row in rows if row.e164 != gone and row.contact_id is not None},
        now=NIGHT,
    )

    reasons, counts = inquiry.answers(Counts())

    codes = [reasons[row.id].partition(":")[0] for row in rows]
    assert codes == ["", "suppressed", "invalid_number", "deleted", ""]
    assert (counts.contacts, counts.kept, counts.waiting) == (5, 2, 2)
    assert counts.skipped["suppressed"].samples == (UUID(int=1),)
    assert unknown not in inquiry.callees
