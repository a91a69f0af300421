"""The installation's limits, and those that an organisation has of its own."""

from voice_agent.campaigns.limits import Limits


def test_an_organisation_s_own_limits_take_the_place_of_the_installation_s() -> None:
    limits = Limits(organisation_calls=20, agent_calls=10)

    assert limits.organisation({}, 5).room == 15
    assert limits.organisation({"max_calls": 6}, 5).room == 1
    assert limits.agent({}, 5).room == 5
    assert limits.agent({"max_calls_per_agent": 7}, 5).room == 2


def test_what_nobody_limits_has_room() -> None:
    assert Limits().organisation({}, 5_000).limit is None
    assert Limits(max_calls=80).everything(100).room == 0


def test_what_is_kept_free_for_people_who_call_us_is_rounded_up() -> None:
    assert Limits(max_calls=11, inbound_share=0.2).kept_free == 3
    assert Limits(max_calls=11, inbound_share=0.0).kept_free == 0
