"""The documents that steer a call: what Twilio is to do next, as TwiML text.

They are written by the SDK's VoiceResponse, which escapes what people say and type. Every document ends the call or
says what follows: Twilio hangs up in mid-sentence on a caller for whom nothing is left to do.
Source: https://www.twilio.com/docs/voice/twiml and the page of each verb.
"""

from typing import Literal

from twilio.twiml.voice_response import VoiceResponse

from voice_agent.calls.ports import Language, TransferRequest

MEDIA_TYPE = "text/xml"
TICKET_PARAMETER = "ticket"
RESUME_PARAMETER = "resume"

LONGEST_LINE = 500
"""Characters said before a transfer: a document that is sent by REST has at most 4,000, escapes included."""

Sentence = Literal["busy", "failure", "no_answer"]

_VOICES: dict[Language, str] = {"en": "en-US", "es": "es-ES"}

SENTENCES: dict[Language, dict[Sentence, str]] = {
    "en": {
        "busy": "All our lines are busy at the moment. Please call again in a few minutes.",
        "failure": "We are sorry, there is a technical problem. Please call again later.",
        "no_answer": "We are sorry, nobody can take your call at the moment. Please call again later.",
    },
    "es": {
        "busy": "Todas nuestras líneas están ocupadas en este momento. Por favor, vuelva a llamar en unos minutos.",
        "failure": "Lo sentimos, tenemos un problema técnico. Por favor, llame de nuevo más tarde.",
        "no_answer": "Lo sentimos, nadie puede atender su llamada en este momento. Por favor, llame más tarde.",
    },
}
"""What Twilio itself says where our own voice cannot be used: no call is held, or its stream is gone."""


def language_of(wanted: str, otherwise: Language) -> Language:
    """Return `wanted` where Twilio's sentences exist in it."""
    return next((language for language in SENTENCES if language == wanted), otherwise)


def connect_stream(
    socket_url: str,
    *,
    ticket: str,
    action_url: str,
    language: Language = "en",
    status_callback: str = "",
    is_resumed: bool = False,
) -> str:
    """Connect the caller to our media socket at `socket_url` (wss, no query string: Twilio strips it).

    `is_resumed` tells the socket's side that the call's last stream was lost.

    `action_url` is asked for the next document when the stream ends; the apology is for the case that it cannot be.
    """
    response = VoiceResponse()
    callback = status_callback or None
    stream = response.connect(action=action_url).stream(url=socket_url, status_callback=callback)
    stream.parameter(name=TICKET_PARAMETER, value=ticket)
    if is_resumed:
        stream.parameter(name=RESUME_PARAMETER, value="1")
    return _say_and_hang_up(response, "failure", language)


def refuse_busy(language: Language = "en") -> str:
    """Answer, say that all lines are busy, hang up."""
    return _say_and_hang_up(VoiceResponse(), "busy", language)


def apologise(language: Language = "en") -> str:
    """Say that there is a technical problem, hang up."""
    return _say_and_hang_up(VoiceResponse(), "failure", language)


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def transfer(plan: TransferRequest) -> str:
    """Tell the caller, ring the target and keep the caller on the line; they hear ringing until it answers.

    With a whisper address whoever answers hears that document first, and the caller still ringing.
    """
    response = VoiceResponse()
    if plan.line:
        response.say(plan.line[:LONGEST_LINE], language=_VOICES[plan.language])
    dial = response.dial(answer_on_bridge=True, timeout=plan.ring_s, action=plan.action_url)
    dial.number(plan.target, url=plan.whisper_url or None)
    return _say_and_hang_up(response, "no_answer", plan.language)


def after_dial(dial_call_status: str, language: Language = "en") -> str:
    """Answer the `action` of a transfer: hang up after a talk, else say that nobody answered.

    `dial_call_status` is the request's `DialCallStatus`; whatever is not known as a talk counts as none.
    """
    if dial_call_status in {"completed", "answered"}:
        return hang_up()
    return _say_and_hang_up(VoiceResponse(), "no_answer", language)


def say(text: str, language: Language) -> str:
    """Say something and leave the rest to the call's own document; without text nothing is said."""
    response = VoiceResponse()
    if text:
        response.say(text, language=_VOICES[language])
    return str(response)


def _say_and_hang_up(response: VoiceResponse, sentence: Sentence, language: Language) -> str:
    response.say(SENTENCES[language][sentence], language=_VOICES[language])
    response.hangup()
    return str(response)
