"""The tables themselves: nothing ambiguous, nothing unreachable, nothing that leads nowhere."""

from collections import Counter

from voice_agent.pipeline.turn import TurnMachine
from voice_agent.pipeline.turn_tables import AGENT_TABLE, DISPATCH, RULES, TIMERS, USER_TABLE, Agent, Step, Timer, User


def test_no_two_rules_share_a_case() -> None:
    cases = Counter((rule.event, user, agent) for rule in RULES for user in rule.user for agent in rule.agent)
    assert [case for case, count in cases.items() if count > 1] == []
    assert cases.keys() == DISPATCH.keys()


def test_every_rule_and_timer_names_a_method_of_the_machine() -> None:
    named = {rule.then for rule in RULES} | set(TIMERS.values())
    assert [name for name in sorted(named) if not callable(getattr(TurnMachine, name, None))] == []


def test_every_timer_fires_into_something() -> None:
    assert TIMERS.keys() == set(Timer)


def test_every_rule_says_what_it_does() -> None:
    assert [rule for rule in RULES if not rule.says or not rule.user or not rule.agent] == []


def test_every_state_of_the_agent_can_be_reached_and_left() -> None:
    reached = {Agent.IDLE}
    while more := {to for (state, _), to in AGENT_TABLE.items() if state in reached} - reached:
        reached |= more
    assert reached == set(Agent)
    leads_home = {Agent.IDLE}
    while more := {state for (state, _), to in AGENT_TABLE.items() if to in leads_home} - leads_home:
        leads_home |= more
    assert leads_home == set(Agent)


def test_every_step_is_taken_somewhere() -> None:
    assert {step for _, step in AGENT_TABLE} == set(Step)


def test_a_reply_that_was_begun_can_be_taken_back_from_every_state_but_one() -> None:
    """What is heard is stopped first, so that its audio is kept until words tell."""
    withdrawn = {state for state, step in AGENT_TABLE if step is Step.WITHDRAW}
    assert withdrawn == set(Agent) - {Agent.IDLE, Agent.SPEAKING}
    assert AGENT_TABLE[Agent.SPEAKING, Step.STOP] in withdrawn


def test_the_caller_is_silent_again_by_the_agents_taking_the_turn_alone() -> None:
    assert User.SILENT not in USER_TABLE.values()
