"""Where Twilio reaches us: the paths of the webhooks and of the media socket, and their public addresses. Pure."""

from uuid import UUID

VOICE_PATH = "/twilio/voice"
STATUS_PATH = "/twilio/status"
MEDIA_PATH = "/twilio/media"
AFTER_STREAM_PATH = "/twilio/after-stream"
AFTER_DIAL_PATH = "/twilio/after-dial"
STREAM_STATUS_PATH = "/twilio/stream-status"
CALL_PATH = "/twilio/calls"
"""Followed by our key of the call and what it is about: /twilio/calls/{call_id}/status."""


class TwilioAddresses:
    """The public addresses; implements `calls.ports.CallAddresses`."""

    def __init__(self, public_base_url: str) -> None:
        self._base_url = public_base_url.rstrip("/")

    @property
    def media(self) -> str:
        """The media socket's, wss:// where the public address is https://."""
        return "ws" + self._base_url.removeprefix("http") + MEDIA_PATH

    def of(self, path: str) -> str:
        """Return the public address of one of the fixed paths."""
        return self._base_url + path

    def answer(self, call_id: UUID) -> str:
        """Asked for a document when an outbound call is answered."""
        return self._of_call(call_id, "answer")

    def status(self, call_id: UUID) -> str:
        """Told what becomes of an outbound call."""
        return self._of_call(call_id, "status")

    def machine(self, call_id: UUID) -> str:
        """Told who answered."""
        return self._of_call(call_id, "machine")

    def recording(self, call_id: UUID) -> str:
        """Told about Twilio's own recording."""
        return self._of_call(call_id, "recording")

    def after_dial(self, call_id: UUID) -> str:
        """Asked for a document when a transfer is over."""
        return self._of_call(call_id, "after-dial")

    def whisper(self, call_id: UUID) -> str:
        """Asked what to say to whoever answers a warm transfer."""
        return self._of_call(call_id, "whisper")

    def _of_call(self, call_id: UUID, subject: str) -> str:
        return f"{self._base_url}{CALL_PATH}/{call_id}/{subject}"


def call_of(url: str) -> UUID | None:
    """Return the call that an address of ours names, None where it names none: to recognise our own calls at Twilio."""
    _, found, rest = url.partition(f"{CALL_PATH}/")
    try:
        return UUID(rest.partition("/")[0]) if found else None
    except ValueError:
        return None
