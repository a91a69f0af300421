"""The documents are read back with an XML parser: what Twilio would see, not how it was written."""

from typing import get_args
from xml.etree import ElementTree

import pytest

from voice_agent.calls.ports import Language, TransferRequest
from voice_agent.integrations.twilio import twiml


def verbs(document: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(document)
    assert root.tag == "Response"
    return list(root)


def tags(document: str) -> list[str]:
    return [verb.tag for verb in verbs(document)]


def test_a_caller_is_connected_to_the_media_socket_with_the_ticket_as_a_parameter() -> None:
    document = twiml.connect_stream(
        "wss://calls.example.org/twilio/media",
        ticket='t_9<3&"',
        action_url="https://calls.example.org/twilio/after",
        status_callback="https://calls.example.org/twilio/stream-status",
    )

    connect = verbs(document)[0]
    assert connect.get("action") == "https://calls.example.org/twilio/after"
    (stream,) = connect
    assert stream.attrib == {
        "url": "wss://calls.example.org/twilio/media",
        "statusCallback": "https://calls.example.org/twilio/stream-status",
    }
    (parameter,) = stream
    assert parameter.attrib == {"name": "ticket", "value": 't_9<3&"'}


def test_a_stream_without_status_callback_names_none() -> None:
    (stream,) = verbs(twiml.connect_stream("wss://x.example/m", ticket="t", action_url="https://x.example/a"))[0]

    assert "statusCallback" not in stream.attrib


@pytest.mark.parametrize("language", get_args(Language))
def test_no_document_leaves_the_caller_without_a_next_step(language: Language) -> None:
    """Where the first verb falls through, a sentence in the caller's language and a hang-up follow."""
    plan = TransferRequest(target="+15550001111", action_url="https://x.example/dialled", language=language)
    documents = [
        twiml.connect_stream("wss://x.example/m", ticket="t", action_url="https://x.example/a", language=language),
        twiml.transfer(plan),
        twiml.refuse_busy(language),
        twiml.apologise(language),
        twiml.after_dial("no-answer", language),
    ]

    for document in documents:
        say, hangup = verbs(document)[-2:]
        assert say.tag == "Say"
        assert say.text in twiml.SENTENCES[language].values()
        assert (say.get("language") or "").startswith(language)
        assert hangup.tag == "Hangup"


def test_each_sentence_says_its_own_thing() -> None:
    assert verbs(twiml.refuse_busy("es"))[0].text == twiml.SENTENCES["es"]["busy"]
    assert verbs(twiml.apologise("es"))[0].text == twiml.SENTENCES["es"]["failure"]
    assert verbs(twiml.after_dial("busy", "es"))[0].text == twiml.SENTENCES["es"]["no_answer"]


def test_a_transfer_rings_the_target_and_reports_back() -> None:
    plan = TransferRequest(target="+15550001111", action_url="https://x.example/dialled", ring_s=15)

    dial = verbs(twiml.transfer(plan))[0]

    assert dial.tag == "Dial"
    assert dial.attrib == {"answerOnBridge": "true", "timeout": "15", "action": "https://x.example/dialled"}
    assert [(number.tag, number.text) for number in dial] == [("Number", "+15550001111")]


def test_the_caller_is_told_before_it_rings_in_their_language() -> None:
    line = "Un momento, le paso con Ana & Co."
    plan = TransferRequest(target="+34612345678", action_url="https://x.example/dialled", language="es", line=line)

    told, dial = verbs(twiml.transfer(plan))[:2]

    assert (told.tag, told.text, told.get("language")) == ("Say", line, "es-ES")
    assert dial.tag == "Dial"


@pytest.mark.parametrize("status", ["completed", "answered"])
def test_after_a_talk_with_the_target_the_call_ends_without_a_word(status: str) -> None:
    assert tags(twiml.after_dial(status)) == ["Hangup"]


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", "", "unheard-of"])
def test_after_a_failed_transfer_the_caller_is_told(status: str) -> None:
    assert tags(twiml.after_dial(status)) == ["Say", "Hangup"]


def test_hang_up_is_a_single_verb() -> None:
    assert tags(twiml.hang_up()) == ["Hangup"]


def test_documents_sent_by_rest_stay_within_twilios_4000_characters() -> None:
    plan = TransferRequest(
        target="+15550001111", action_url="https://x.example/" + "d" * 500, language="es", line="&" * 9_000
    )

    assert len(twiml.transfer(plan)) < 4_000
