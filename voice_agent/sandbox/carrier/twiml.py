"""TwiML, as far as the sandbox plays it: text in, a tuple of verbs out.

Pure. Verbs the sandbox does not know are kept by name, so that the interpreter can report and skip them as Twilio
does (12200). Source: https://www.twilio.com/docs/voice/twiml and the page of each verb.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Literal

import msgspec

MAX_DOCUMENT_BYTES = 64_000

Method = Literal["GET", "POST"]


class TwimlError(ValueError):
    """The document is not TwiML: Twilio's error 12100."""


class Say(msgspec.Struct, frozen=True):
    """Speak `text`."""

    text: str
    language: str = "en"
    """ISO 639-1, the first part of TwiML's `en-US`."""
    loop: int = 1


class Play(msgspec.Struct, frozen=True):
    """Play the sound file at `url`."""

    url: str
    loop: int = 1


class Pause(msgspec.Struct, frozen=True):
    """Stay silent."""

    length_s: float = 1.0


class Hangup(msgspec.Struct, frozen=True):
    """End the call."""


class Reject(msgspec.Struct, frozen=True):
    """Do not answer."""

    reason: str = "rejected"


class Redirect(msgspec.Struct, frozen=True):
    """Go on with another document."""

    url: str
    method: Method = "POST"


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """The far end of a bidirectional media stream."""

    url: str
    name: str = ""
    track: str = "inbound_track"
    status_callback: str = ""
    status_callback_method: Method = "POST"
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class Connect(msgspec.Struct, frozen=True):
    """Hold a media stream until the server closes it."""

    stream: Stream
    action: str = ""
    method: Method = "POST"


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """Connect the caller to `number`."""

    number: str
    action: str = ""
    method: Method = "POST"
    timeout_s: float = 30.0
    caller_id: str = ""
    whisper_url: str = ""
    """`<Number url>`: the document that whoever answers hears before both are joined."""
    whisper_method: Method = "POST"


class Gather(msgspec.Struct, frozen=True, kw_only=True):
    """Collect keys, while `prompts` are heard."""

    prompts: tuple[Say | Play | Pause, ...] = ()
    action: str = ""
    method: Method = "POST"
    timeout_s: float = 5.0
    num_digits: int = 0
    """0: until `finish_on_key` or the time-out."""
    finish_on_key: str = "#"


class UnknownVerb(msgspec.Struct, frozen=True):
    """A verb, or a noun inside one, that the sandbox does not play."""

    name: str


Verb = Say | Play | Pause | Hangup | Reject | Redirect | Connect | Dial | Gather | UnknownVerb


class Document(msgspec.Struct, frozen=True):
    """Verbs in order, and the address that relative ones start from (empty: none was given)."""

    verbs: tuple[Verb, ...]
    base_url: str = ""


def parse(text: str, *, base_url: str = "") -> Document:
    """Return the verbs of a document. An empty text is an empty document. Raises TwimlError."""
    if not text.strip():
        return Document((), base_url)
    if len(text) > MAX_DOCUMENT_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise TwimlError("a TwiML document has no DTD and at most 64 kB")
    try:
        root = ElementTree.fromstring(text.strip())  # noqa: S314 - documents with a DTD were refused above
    except ElementTree.ParseError as error:
        raise TwimlError(str(error)) from error
    if root.tag != "Response":
        raise TwimlError(f"the root is <{root.tag}>, not <Response>")
    return Document(tuple(_verb(element) for element in root), base_url)


def _verb(element: ElementTree.Element) -> Verb:
    build = _BUILDERS.get(element.tag)
    try:
        return build(element) if build is not None else UnknownVerb(element.tag)
    except ValueError as error:
        raise TwimlError(f"<{element.tag}>: {error}") from error


def _method(element: ElementTree.Element, name: str = "method") -> Method:
    return "GET" if element.get(name, "POST").upper() == "GET" else "POST"


def _text(element: ElementTree.Element) -> str:
    return "".join(element.itertext()).strip()


def _say(element: ElementTree.Element) -> Say:
    language = element.get("language", "en").split("-")[0].lower()
    return Say(" ".join(_text(element).split()), language, int(element.get("loop", "1")))


def _play(element: ElementTree.Element) -> Verb:
    return Play(_text(element), int(element.get("loop", "1"))) if _text(element) else UnknownVerb("Play digits")


def _redirect(element: ElementTree.Element) -> Redirect:
    return Redirect(_text(element), _method(element))


def _stream(element: ElementTree.Element) -> Stream:
    return Stream(
        url=element.get("url", ""),
        name=element.get("name", ""),
        track=element.get("track", "inbound_track"),
        status_callback=element.get("statusCallback", ""),
        status_callback_method=_method(element, "statusCallbackMethod"),
        parameters={child.get("name", ""): child.get("value", "") for child in element.findall("Parameter")},
    )


def _connect(element: ElementTree.Element) -> Verb:
    stream = element.find("Stream")
    if stream is None:
        nouns = ", ".join(child.tag for child in element)
        return UnknownVerb(f"Connect {nouns}".strip())
    return Connect(_stream(stream), element.get("action", ""), _method(element))


def _dial(element: ElementTree.Element) -> Verb:
    number = element.find("Number")
    target = _text(element) if number is None else _text(number)
    if not target.startswith("+"):
        return UnknownVerb(f"Dial {target or 'nobody'}")
    return Dial(
        number=target,
        action=element.get("action", ""),
        method=_method(element),
        timeout_s=float(element.get("timeout", "30")),
        caller_id=element.get("callerId", ""),
        whisper_url="" if number is None else number.get("url", ""),
        whisper_method="POST" if number is None else _method(number),
    )


def _gather(element: ElementTree.Element) -> Gather:
    prompts = tuple(_verb(child) for child in element)
    return Gather(
        prompts=tuple(prompt for prompt in prompts if isinstance(prompt, Say | Play | Pause)),
        action=element.get("action", ""),
        method=_method(element),
        timeout_s=float(element.get("timeout", "5")),
        num_digits=int(element.get("numDigits", "0")),
        finish_on_key=element.get("finishOnKey", "#"),
    )


_BUILDERS: dict[str, Callable[[ElementTree.Element], Verb]] = {
    "Say": _say,
    "Play": _play,
    "Pause": lambda element: Pause(float(element.get("length", "1"))),
    "Hangup": lambda _: Hangup(),
    "Reject": lambda element: Reject(element.get("reason", "rejected")),
    "Redirect": _redirect,
    "Connect": _connect,
    "Dial": _dial,
    "Gather": _gather,
}
