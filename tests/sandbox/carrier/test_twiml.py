import pytest

from voice_agent.sandbox.carrier import twiml
from voice_agent.sandbox.carrier.twiml import (
    Connect,
    Dial,
    Gather,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    Stream,
    TwimlError,
    UnknownVerb,
    Verb,
    parse,
)


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("<Say> Hello\n there </Say>", Say("Hello there")),
        ('<Say language="es-MX" loop="2">Hola</Say>', Say("Hola", "es", 2)),
        ("<Play>https://x.example/a.wav</Play>", Play("https://x.example/a.wav")),
        ('<Play digits="1w2"/>', UnknownVerb("Play digits")),
        ("<Pause/>", Pause(1.0)),
        ('<Pause length="12"/>', Pause(12.0)),
        ("<Hangup/>", Hangup()),
        ('<Reject reason="busy"/>', Reject("busy")),
        ("<Redirect>/again</Redirect>", Redirect("/again")),
        ('<Redirect method="get">/again</Redirect>', Redirect("/again", "GET")),
        (
            '<Connect action="/after"><Stream url="wss://x.example/m" name="n" statusCallback="/s">'
            '<Parameter name="ticket" value="t"/><Parameter name="b" value="é&amp;"/></Stream></Connect>',
            Connect(
                Stream(url="wss://x.example/m", name="n", status_callback="/s", parameters={"ticket": "t", "b": "é&"}),
                "/after",
            ),
        ),
        ("<Connect><ConversationRelay/></Connect>", UnknownVerb("Connect ConversationRelay")),
        (
            '<Dial action="/done" timeout="20" callerId="+15550001"><Number>+15550002</Number></Dial>',
            Dial(number="+15550002", action="/done", timeout_s=20.0, caller_id="+15550001"),
        ),
        ("<Dial>+15550002</Dial>", Dial(number="+15550002")),
        ("<Dial><Client>anna</Client></Dial>", UnknownVerb("Dial anna")),
        (
            '<Gather numDigits="1" timeout="3" action="/keys"><Say>Press one</Say><Pause/></Gather>',
            Gather(prompts=(Say("Press one"), Pause()), action="/keys", timeout_s=3.0, num_digits=1),
        ),
        ("<Enqueue>x</Enqueue>", UnknownVerb("Enqueue")),
    ],
)
def test_each_verb(text: str, verb: Verb) -> None:
    assert parse(f"<Response>{text}</Response>").verbs == (verb,)


@pytest.mark.parametrize(
    "text",
    [
        "<Response>",
        "hello",
        "<Say>no root</Say>",
        '<Response><Pause length="soon"/></Response>',
        '<!DOCTYPE x [<!ENTITY a "b">]><Response/>',
        f"<Response><Say>{'x' * twiml.MAX_DOCUMENT_BYTES}</Say></Response>",
    ],
)
def test_what_is_no_twiml_is_refused(text: str) -> None:
    with pytest.raises(TwimlError):
        parse(text)


def test_an_empty_answer_is_an_empty_document() -> None:
    assert parse(" \n", base_url="http://x.example/a").verbs == ()
    assert parse("<?xml version='1.0' encoding='UTF-8'?><Response/>").verbs == ()
