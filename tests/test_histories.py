"""Recorded calls through today's turn machine: every decision as it was. See tests/histories/record.py."""

from pathlib import Path

import pytest

from tests.histories.record import FOLDER, HISTORIES
from voice_agent.calls.event_log import read_event_log
from voice_agent.calls.replay import replay
from voice_agent.pipeline import actions as act

RECORDED = sorted(FOLDER.glob("*.jsonl"))


def test_every_history_is_recorded() -> None:
    assert [path.stem for path in RECORDED] == sorted(HISTORIES)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_call_is_decided_as_it_was(path: Path) -> None:
    report = replay(path)
    assert report.difference is None
    assert report.is_complete
    assert not report.is_torn
    assert report.replayed == report.events > 0


def _actions(name: str) -> set[type[act.Action]]:
    log = read_event_log(FOLDER / f"{name}.jsonl")
    return {type(action) for entry in log.entries for action in entry.actions}


@pytest.mark.parametrize(
    ("name", "has", "has_not"),
    [
        ("two_turns", {act.CommitTranscript, act.StartReply}, {act.StopPlayback, act.HangUp}),
        ("interrupted", {act.StopPlayback, act.TrimHistory, act.CancelReply}, {act.ResumePlayback}),
        ("backchannel", {act.StopPlayback, act.ResumePlayback}, {act.TrimHistory}),
        ("keys", {act.StartReply}, {act.StopPlayback}),
        ("silence", {act.Speak, act.HangUp}, {act.StartReply}),
        ("hung_up_mid_reply", {act.StopPlayback, act.TrimHistory, act.CancelReply}, {act.HangUp}),
        ("agent_ends", {act.RunTool, act.HangUp}, {act.ContinueReply}),
        ("model_fails", {act.CancelReply, act.HangUp}, {act.RunTool}),
        ("voice_fails", {act.HangUp}, {act.RunTool}),
        ("recognition_fails", {act.HangUp}, {act.StartReply}),
    ],
)
def test_a_history_holds_what_it_is_kept_for(
    name: str, has: set[type[act.Action]], has_not: set[type[act.Action]]
) -> None:
    actions = _actions(name)
    assert has <= actions
    assert not has_not & actions
