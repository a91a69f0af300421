"""Replay: the same decisions, the first other one, and logs that end early."""

from pathlib import Path

import msgspec
import pytest

from tests.calls.call_world import SETTINGS, Call, log_of, short_call
from voice_agent.calls.event_log import LoggedEvent, parse_event_log
from voice_agent.calls.replay import replay, replay_log
from voice_agent.errors import EventLogError
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev

LOG = log_of(short_call())


def test_a_recorded_call_replays_action_for_action(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(LOG)
    report = replay(path)
    assert report.is_same
    assert report.difference is None
    assert report.is_complete
    assert report.replayed == report.events == len(short_call().decided)
    assert report.actions == sum(len(actions) for _, actions in short_call().decided)


def test_the_first_other_decision_is_reported_with_both_sides() -> None:
    log = parse_event_log(LOG)
    place = next(
        number for number, entry in enumerate(log.entries) if any(isinstance(a, act.StartReply) for a in entry.actions)
    )
    entry = log.entries[place]
    changed = LoggedEvent(entry.line, entry.event, (act.HangUp(reason="agent"),))
    report = replay_log(
        msgspec.structs.replace(log, entries=(*log.entries[:place], changed, *log.entries[place + 1 :]))
    )
    assert not report.is_same
    assert report.difference is not None
    assert report.difference.line == entry.line == place + 2
    assert report.difference.expected == changed.actions
    assert report.difference.got == entry.actions
    assert (report.replayed, report.events) == (place, len(log.entries))


def test_other_settings_decide_otherwise() -> None:
    log = parse_event_log(LOG)
    settings = msgspec.structs.replace(log.header.settings, commit_s=0.4)
    report = replay_log(msgspec.structs.replace(log, header=msgspec.structs.replace(log.header, settings=settings)))
    assert not report.is_same


def test_a_disclosure_and_what_was_said_over_it_replay_as_they_were() -> None:
    call = Call(msgspec.structs.replace(SETTINGS, disclosure="This is an automated call."))
    call.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1))
    call.say("Who is this?", at=2.0)
    call.play(ev.PlaybackFinished(at=3.5, turn=1))
    call.answer("The harbour restaurant.", at=3.9)
    call.end(at=5.0)
    report = replay_log(parse_event_log(log_of(call)))
    assert (report.is_same, report.is_complete) == (True, True)
    assert report.replayed == len(call.decided)


def test_a_torn_log_replays_as_far_as_it_goes() -> None:
    report = replay_log(parse_event_log(LOG[:-5]))
    assert report.is_same
    assert (report.is_torn, report.is_complete) == (True, False)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "call.jsonl").write_bytes(b"hello")
    with pytest.raises(EventLogError, match="line 1"):
        replay(tmp_path / "call.jsonl")
