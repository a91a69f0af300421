"""The exception tree of the whole package.

    VoiceAgentError
    ├── SettingsError            a setting is missing, malformed or a placeholder
    ├── ScenarioError            a sandbox scenario file cannot be used
    ├── SandboxServerError       the sandbox's own server did not start, or does not do what it should
    ├── AgentDefinitionError     an agent file cannot be used
    ├── RulePackError            a rule pack of the law cannot be used
    ├── EventLogError            a recorded event log cannot be replayed
    ├── MediaStreamError         the Twilio socket could not be served
    ├── CarrierError             the carrier's REST interface refused or failed
    ├── DatabaseUnavailable      the database cannot be reached or does not answer
    ├── HolderUnreachable        the process that holds a call does not answer
    ├── StorageError             recordings and exports cannot be kept or read
    │   └── FileNotStored        there is no such file
    ├── RequestError             the API cannot do what it was asked
    │   ├── InvalidRequest       it can never be done so (422)
    │   ├── NotAuthenticated     nobody knows who asks (401)
    │   ├── NotPermitted         who asks may not do it (403)
    │   ├── NotFound             there is no such thing, or it is somebody else's (404)
    │   ├── Conflict             its state does not allow it (409)
    │   ├── PreconditionFailed   it has been changed since it was read (412)
    │   ├── ContentTooLarge      more than may be sent (413)
    │   └── TooManyRequests      later (429)
    └── ProviderError            a speech or language provider failed
        ├── ProviderRefused      it will fail again: key, plan, unknown voice or model (401, 403, 404, 422)
        ├── ProviderBusy         it may work later: rate limit or overload (429, 503)
        ├── ProviderUnavailable  no answer: connect, reset, time-out, 5xx
        └── ProviderMisbehaved   an answer that breaks the provider's own protocol

Every leaf carries what a caller of the API or an operator needs to act on it. `http_status` is what the REST
edge answers when the error reaches it. Vendor exceptions are translated to this tree in `integrations`.
"""


class VoiceAgentError(Exception):
    """Anything this package raises on purpose."""

    http_status = 500


class SettingsError(VoiceAgentError):
    """A setting is missing, malformed or a placeholder. The message names the setting, never its value."""


class ScenarioError(VoiceAgentError):
    """A sandbox scenario cannot be used. The message names the file and the field."""

    http_status = 422


class SandboxServerError(VoiceAgentError):
    """The sandbox's own server did not start, with the end of its log; or it does not do what it should."""


class AgentDefinitionError(VoiceAgentError):
    """An agent definition cannot be used. The message names the file and the field."""

    http_status = 422


class RulePackError(VoiceAgentError):
    """A rule pack cannot be used. The message names the file and the field."""


class EventLogError(VoiceAgentError):
    """A recorded event log cannot be read. The message names the line."""

    http_status = 422


class MediaStreamError(VoiceAgentError):
    """The Twilio media socket could not be served."""


class CarrierError(VoiceAgentError):
    """The carrier's REST interface refused or failed.

    `code` is Twilio's error code (https://www.twilio.com/docs/api/errors), 0 where none was given; `status` is the
    HTTP status, 0 where no answer came. `kind` is what it means for whoever asked: config (account, number or country
    is not set up), invalid_number, unreachable, blocked, retry_later, gone, or other.
    """

    http_status = 502

    def __init__(self, message: str, *, code: int = 0, status: int = 0, kind: str = "other") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.kind = kind

    @property
    def is_unclear(self) -> bool:
        """Whether what was asked may have been done all the same: no answer, or one that it failed inside."""
        return self.status == 0 or self.status >= 500

    @property
    def is_not_processed(self) -> bool:
        """Whether it is certain that nothing was done, and asking again is right (HTTP 429)."""
        return self.status == 429


class DatabaseUnavailable(VoiceAgentError):
    """The database cannot be reached, or does not answer in time. What was asked of it has not been done."""

    http_status = 503


class HolderUnreachable(VoiceAgentError):
    """No process has said that it did what was asked of the one that holds a call."""

    http_status = 503


class StorageError(VoiceAgentError):
    """The storage of recordings and exports cannot be reached, refuses, or has something else than was put there."""

    http_status = 502


class FileNotStored(StorageError):
    """There is no such file in the storage."""

    http_status = 404


class RequestError(VoiceAgentError):
    """The API cannot do what it was asked. The message says why, in words for whoever asked."""

    http_status = 400


class InvalidRequest(RequestError):
    """What is asked for can never be done so. The message names the field."""

    http_status = 422


class NotAuthenticated(RequestError):
    """Nobody knows who asks: no token, an invalid one, or one that is not good any more."""

    http_status = 401


class NotPermitted(RequestError):
    """Who asks is known, and may not do it."""

    http_status = 403


class NotFound(RequestError):
    """There is no such thing, or it belongs to another organisation: both are answered alike."""

    http_status = 404


class Conflict(RequestError):
    """The state of the thing does not allow it."""

    http_status = 409


class PreconditionFailed(RequestError):
    """The thing has been changed since it was read: its ETag is another one now."""

    http_status = 412


class ContentTooLarge(RequestError):
    """More than may be sent at once."""

    http_status = 413


class TooManyRequests(RequestError):
    """Too many requests. `retry_after_s` is when to come again."""

    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProviderError(VoiceAgentError):
    """A speech or language provider failed. `provider` is its name; the message carries no secret."""

    http_status = 502

    def __init__(self, provider: str, message: str) -> None:
        super().__init__(f"{provider}: {message}")
        self.provider = provider


class ProviderRefused(ProviderError):
    """The provider will refuse again: wrong key, plan, voice or model. Never retried."""


class ProviderBusy(ProviderError):
    """The provider may answer later. `retry_after_s` is its own hint in seconds, None where it gave none."""

    def __init__(self, provider: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(provider, message)
        self.retry_after_s = retry_after_s


class ProviderUnavailable(ProviderError):
    """No usable answer: connection refused or reset, time-out, 5xx. Retried within the turn's budget."""


class ProviderMisbehaved(ProviderError):
    """The provider's answer breaks its own protocol: malformed, wrong rate, out of bounds."""
