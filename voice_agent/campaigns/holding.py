"""When the system stops dialling by itself, and when it goes on: what calls were like in, hold or not out. Pure.

A hold has a reason that people read. What heals by itself (providers, load, numbers, failures) goes on after a while,
if the reason has gone by then; what does not (money, the carrier's account) waits for somebody.

| code | when |
|---|---|
| carrier | the carrier refuses our account: its credentials, its balance, its permission to dial |
| budget | the budget does not allow another call, and none is under way whose end would free money |
| no_number | every number of the pool is in quarantine, or is forbidden where the contacts are |
| provider | a speech or language provider is known to fail (circuit breakers) |
| latency | answers of our own calls take too long, or this process falls behind |
| failures | too large a share of the calls failed, at the carrier or by our side; the commonest code is told |
| silent_agent | too large a share of the people who answered did not hear the agent within 2 s |

A single number that fails while the others do not is put into quarantine instead: the campaign goes on without it.
Before a hold there is trouble: half of what holds a campaign begins its ramp anew (`pacing`).

Source: campaigns.md 1A ("Auto-pause on failure rate"); dograh holds at 50 % of failures in 120 s, from 5 calls on.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from voice_agent.campaigns.model import SELF_HEALING, HoldCode
from voice_agent.campaigns.plan import HoldRule

SLOW_MS = 2_500.0
"""Voice to voice at the 95th percentile: beyond it people speak over the agent. Our own target is 1,000."""

LEAST_TURNS = 20
LAG_MS = 250.0
"""Of the event loop (reliability.md F51): beyond it calls of this process are heard to stutter."""

NUMBER_QUARANTINE = timedelta(hours=1)


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """So many of so many."""

    part: int = 0
    of: int = 0

    def is_at(self, share: float, least: int) -> bool:
        """Tell whether it is `share` or more, of `least` or more; a share of 0 is never reached by nothing."""
        return self.of >= least and self.part > 0 and self.part >= share * self.of


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign's calls were like lately, and what is known of what they need."""

    failed: Share = Share()
    """Of the calls that ended."""

    failed_by_number: Mapping[str, Share] = {}
    errors: Mapping[int, int] = {}
    """Carrier's error codes of those that failed: how often."""

    is_account_refused: bool = False
    silent: Share = Share()
    """Of the people who answered."""

    slow_ms: float = 0.0
    """Voice to voice, 95th percentile; 0 where there were too few turns."""

    lag_ms: float = 0.0
    providers: tuple[str, ...] = ()
    """Those that fail."""

    is_budget_short: bool = False
    active: int = 0
    has_number: bool = True


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """That a campaign is to stop dialling."""

    code: HoldCode
    reason: str
    release_at: datetime | None


def hold_for(rule: HoldRule, health: Health, now: datetime) -> Hold | None:
    """Return why a campaign is to be held; None where nothing speaks for it."""
    found = _reason(rule, health)
    if found is None:
        return None
    code, reason = found
    release_at = now + timedelta(seconds=rule.release_after_s) if code in SELF_HEALING else None
    return Hold(code=code, reason=reason, release_at=release_at)


def _reason(rule: HoldRule, health: Health) -> tuple[HoldCode, str] | None:
    if health.is_account_refused:
        return HoldCode.CARRIER, f"the carrier refuses our account{_commonest(health)}"
    if health.is_budget_short and health.active == 0:
        return HoldCode.BUDGET, "the budget is used up: it does not allow another call"
    if not health.has_number:
        return HoldCode.NO_NUMBER, "no number can be shown: all are in quarantine, or there is none"
    if health.providers:
        return HoldCode.PROVIDER, f"a provider fails: {', '.join(health.providers)}"
    if health.slow_ms > SLOW_MS:
        return HoldCode.LATENCY, f"answers take too long: {health.slow_ms:.0f} ms in one of twenty"
    if health.lag_ms > LAG_MS:
        return HoldCode.LATENCY, f"this machine has too much to do: it is {health.lag_ms:.0f} ms late"
    if health.failed.is_at(rule.failure_share, rule.least_calls):
        failed = health.failed
        return HoldCode.FAILURES, f"{failed.part} of the last {failed.of} calls failed{_commonest(health)}"
    if health.silent.is_at(rule.silent_share, rule.least_calls):
        silent = health.silent
        return HoldCode.SILENT_AGENT, f"{silent.part} of {silent.of} people who answered heard nothing for 2 s"
    return None


def _commonest(health: Health) -> str:
    code = max(health.errors, key=lambda each: (health.errors[each], each), default=0)
    return f" (mostly with the carrier's error {code})" if code else ""


def is_in_trouble(rule: HoldRule, health: Health) -> bool:
    """Tell whether a campaign is half way to a hold: then it does not go faster."""
    return health.failed.is_at(rule.failure_share / 2, rule.least_calls)


def numbers_to_rest(rule: HoldRule, health: Health) -> list[str]:
    """Return numbers whose calls fail while those of others do not."""
    bad = [e164 for e164, share in health.failed_by_number.items() if share.is_at(rule.failure_share, rule.least_calls)]
    others = [share for e164, share in health.failed_by_number.items() if e164 not in bad]
    rest = Share(part=sum(share.part for share in others), of=sum(share.of for share in others))
    is_it_them = rest.of >= rule.least_calls and not rest.is_at(rule.failure_share / 2, rule.least_calls)
    return sorted(bad) if is_it_them else []


def without(health: Health, numbers: list[str]) -> Health:
    """Return what the calls of the other numbers were like."""
    shares = {e164: share for e164, share in health.failed_by_number.items() if e164 not in numbers}
    failed = Share(part=sum(share.part for share in shares.values()), of=sum(share.of for share in shares.values()))
    return msgspec.structs.replace(health, failed=failed, failed_by_number=shares)
