"""What the machine is told: serialisable, refusing what it does not know, all phrases listed."""

import msgspec
import pytest

from tests.pipeline.turn_world import LINES
from voice_agent.pipeline.endpointing import PROFILES
from voice_agent.pipeline.turn_settings import Lines, TurnSettings


def test_every_phrase_is_listed_for_synthesis_and_no_empty_one() -> None:
    assert set(LINES.all()) == {
        "Hello.", "Are you there?", "Still there?", "Goodbye.", "One moment.", "I did not catch that.",
        "Sorry, once more please.", "We have a technical problem.",
    }  # fmt: skip
    assert "" not in msgspec.structs.replace(LINES, greeting="", filler="", idle_prompts=("", "Hello?")).all()


def test_settings_come_back_from_an_event_log_as_they_were() -> None:
    settings = TurnSettings(lines=LINES, language="es", endpointing=PROFILES["patient"], commit_s=0.3)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=TurnSettings) == settings


def test_a_line_that_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="greeting"):
        msgspec.convert({}, Lines)
    with pytest.raises(msgspec.ValidationError, match="farewell"):
        msgspec.convert(msgspec.to_builtins(LINES) | {"farewell": "Bye."}, Lines)


def test_the_waits_leave_room_for_one_another() -> None:
    """The order on which the machine's essay relies: commit, speculation, final, giving up."""
    settings = TurnSettings(lines=LINES)
    assert 0 < settings.commit_s <= settings.speculation_grace_s < settings.commit_s + settings.final_wait_s
    assert settings.commit_s + settings.final_wait_s < settings.words_wait_s
    assert settings.filler_s < settings.reply_s < settings.duration_s


def test_sentences_that_an_agent_need_not_bring_come_in_its_language() -> None:
    english, spanish, other = (LINES.completed(language) for language in ("en", "es", "fr"))
    assert english == other
    assert english.resumption.startswith("Sorry")
    assert spanish.resumption.startswith("Disculpe")
    assert spanish.connecting.endswith("le paso.")
    assert {english.resumption, english.closing, english.connecting} <= set(english.all())
    own = msgspec.structs.replace(LINES, resumption="Back.", closing="Bye.", connecting="Wait.", opted_out="Done.")
    assert own.completed("es") == own
