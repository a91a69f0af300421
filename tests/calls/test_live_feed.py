"""What watchers are told of calls."""

from uuid import uuid4

import msgspec
from pydantic import TypeAdapter

from tests.calls.call_world import short_call
from tests.calls.stored_calls import a_call
from voice_agent.calls.live_feed import CallChanged, LiveEvent, LiveFeed, TranscriptChanged, TurnTimed, WordsHeard
from voice_agent.calls.transcript import CallerSaid, EntryChange, ToolRan, TranscriptBuilder
from voice_agent.pipeline.latency import LatencyTracker
from voice_agent.storage.bus import InProcessBus, Subscription

ORG, CALL = uuid4(), uuid4()


def told(subscription: Subscription) -> list[LiveEvent]:
    """Return what was published and is not taken yet."""
    reader: TypeAdapter[LiveEvent] = TypeAdapter(LiveEvent)
    found = [reader.validate_json(event.body) for event in subscription._waiting]
    subscription._waiting.clear()
    return found


async def test_a_call_is_told_in_its_organisations_topic_and_in_its_own() -> None:
    bus = InProcessBus()
    call = a_call(ORG, state="in_progress")
    call.resumptions, call.created_by, call.agent_name, call.is_recording_paused = 0, "", "Anna", False
    topics = (f"{call.org_id}:calls", f"{call.org_id}:call:{call.id}", f"{uuid4()}:calls")
    async with (
        bus.subscribe(topics[:1]) as all_calls,
        bus.subscribe(topics[1:2]) as one,
        bus.subscribe(topics[2:]) as other,
    ):
        LiveFeed(bus).call_changed(call)
        for subscription in (all_calls, one):
            (event,) = told(subscription)
            assert isinstance(event, CallChanged)
            assert (event.call.id, event.call.to) == (call.id, call.to_number)
        assert told(other) == []


async def test_guesses_are_told_to_those_alone_who_watch_the_call() -> None:
    bus = InProcessBus()
    async with bus.subscribe([f"{ORG}:calls"]) as all_calls, bus.subscribe([f"{ORG}:call:{CALL}"]) as one:
        LiveFeed(bus).of_call(ORG, CALL, 2).words(1.23456, "I would")
        assert told(all_calls) == []
        assert told(one) == [WordsHeard(call_id=CALL, segment=2, at=1.235, text="I would")]


async def test_the_transcript_that_is_told_is_the_one_that_is_kept() -> None:
    bus, builder, tracker = InProcessBus(), TranscriptBuilder(), LatencyTracker()
    feed = LiveFeed(bus).of_call(ORG, CALL, 0)
    seen, turns = dict[int, TranscriptChanged](), list[TurnTimed]()
    async with bus.subscribe([f"{ORG}:calls"]) as all_calls:
        for event, actions in short_call().decided:
            builder.observe(event, actions)
            if timed := tracker.observe(event, actions):
                feed.turn(timed)
            feed.transcript(builder.take_changes())
            for each in told(all_calls):
                if isinstance(each, TurnTimed):
                    turns.append(each)
                else:
                    assert isinstance(each, TranscriptChanged)
                    seen[each.number] = each
    shown = [change.entry for _, change in sorted(seen.items()) if change.entry is not None]
    assert [(entry.kind, entry.text) for entry in sorted(shown, key=lambda entry: entry.started_at)] == [
        (type(entry).__struct_config__.tag, getattr(entry, "text", "")) for entry in builder.entries
    ]
    assert [turn.turn.voice_to_voice_ms for turn in turns] == [turn.voice_to_voice_ms for turn in tracker.turns]
    assert set(turns[0].turn.parts) == set(msgspec.structs.asdict(tracker.turns[0])) - {"turn", "voice_to_voice_ms"}


async def test_what_was_withdrawn_is_told_and_a_tool_has_its_details() -> None:
    bus = InProcessBus()
    ran = ToolRan(started_at=1.0, ended_at=2.0, turn=2, call_id="c", name="book", arguments="{}", result="ok")
    said = CallerSaid(started_at=0.0, ended_at=1.0, text="Yes.", turn=2)
    async with bus.subscribe([f"{ORG}:call:{CALL}"]) as one:
        changes = [EntryChange(0, None), EntryChange(1, ran), EntryChange(2, said)]
        LiveFeed(bus).of_call(ORG, CALL, 0).transcript(changes)
        gone, tool, words = told(one)
    assert isinstance(gone, TranscriptChanged)
    assert (gone.number, gone.entry) == (0, None)
    assert isinstance(tool, TranscriptChanged)
    assert tool.entry is not None
    assert tool.entry.details == {"call_id": "c", "name": "book", "arguments": "{}", "result": "ok", "is_error": False}
    assert isinstance(words, TranscriptChanged)
    assert words.entry is not None
    assert (words.entry.turn, words.entry.heard, words.entry.details) == (2, None, None)
