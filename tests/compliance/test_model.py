"""A verdict is a yes where nothing speaks against a call; a refusal tells everything that does."""

from voice_agent.compliance.model import CallRefused, Reason, ReasonCode, Verdict

SUPPRESSED = Reason(code=ReasonCode.SUPPRESSED, detail="they said no", source="ours")
AT_NIGHT = Reason(code=ReasonCode.OUTSIDE_WINDOW, detail="it is night", source="a law")


def test_a_verdict_without_reasons_is_a_yes() -> None:
    assert Verdict(reasons=(), packs=()).is_allowed
    assert not Verdict(reasons=(SUPPRESSED,), packs=()).is_allowed


def test_a_refusal_is_a_403_with_every_reason() -> None:
    refusal = CallRefused((SUPPRESSED, AT_NIGHT))

    assert refusal.http_status == 403
    assert str(refusal) == "this call is not allowed: they said no; it is night"
    assert refusal.reasons == (SUPPRESSED, AT_NIGHT)
