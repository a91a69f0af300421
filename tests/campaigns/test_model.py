"""The life of a campaign: every state with every event."""

import pytest

from voice_agent.campaigns.model import (
    AT_THE_PHONE,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    CampaignEvent,
    CampaignState,
    ContactState,
    Tally,
    moved,
)
from voice_agent.errors import Conflict


@pytest.mark.parametrize("state", CampaignState)
@pytest.mark.parametrize("event", CampaignEvent)
def test_what_the_table_does_not_allow_is_a_conflict(state: CampaignState, event: CampaignEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert moved(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(Conflict, match=str(state)):
            moved(state, event)


def test_nothing_leaves_the_archive_and_every_state_can_be_reached() -> None:
    reached = {CampaignState.DRAFT}
    for _ in CampaignState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}

    assert reached == set(CampaignState)
    assert not [before for before, _ in TRANSITIONS if before is CampaignState.ARCHIVED]


def test_a_contact_is_waiting_at_the_phone_over_or_not_launched() -> None:
    assert WAITING | AT_THE_PHONE | TERMINAL | {ContactState.PENDING} == set(ContactState)
    assert not WAITING & AT_THE_PHONE
    assert not TERMINAL & (WAITING | AT_THE_PHONE)


def test_a_tally_tells_who_is_left() -> None:
    tally = Tally(counts={ContactState.DONE: 3, ContactState.DUE: 2, ContactState.IN_CALL: 1})

    assert (tally.total, tally.open) == (6, 3)
