"""A telephone company that does what a test tells it, and remembers what it was asked."""

from collections.abc import AsyncGenerator
from datetime import datetime

from voice_agent.calls.ports import CallRequest, CarrierCall, CarrierRecording, TransferRequest
from voice_agent.errors import CarrierError


class FakeCarrier:
    """Implements `calls.ports.Carrier`. Fill `answers` with what `create_call` returns or raises, in order."""

    def __init__(self) -> None:
        self.answers: list[CarrierCall | CarrierError] = []
        self.placed: list[CallRequest] = []
        self.calls: dict[str, CarrierCall] = {}
        self.hung_up: list[str] = []
        self.canceled: list[str] = []
        self.transferred: list[tuple[str, TransferRequest]] = []
        self.paused: list[str] = []
        self.resumed: list[str] = []
        self.deleted_recordings: list[str] = []
        self.recordings: dict[str, bytes] = {}
        """What can be downloaded."""

        self.listed: dict[str, tuple[CarrierRecording, ...]] = {}
        """By call: its recordings."""

        self.download_errors: list[CarrierError] = []
        """Raised by the next downloads, in the middle of the sound where there is one."""

        self.error: CarrierError | None = None
        """Raised by everything but `create_call`."""

        self.hang_up_errors: list[CarrierError] = []
        """Raised by the next ones."""

        self.fetched = 0
        """How often a call was looked up."""

    async def create_call(self, request: CallRequest) -> CarrierCall:
        self.placed.append(request)
        answer = self.answers.pop(0) if self.answers else self._fresh(request)
        if isinstance(answer, CarrierError):
            raise answer
        return answer

    def _fresh(self, request: CallRequest) -> CarrierCall:
        call = CarrierCall(call_sid=f"CA{len(self.placed):032}", status="queued", to=request.to, caller=request.caller)
        self.calls[call.call_sid] = call
        return call

    async def fetch_call(self, call_sid: str) -> CarrierCall:
        self._fail()
        self.fetched += 1
        if call_sid not in self.calls:
            raise CarrierError("not found", code=20404, status=404, kind="gone")
        return self.calls[call_sid]

    async def list_calls(self, *, to: str, caller: str, started_after: datetime) -> tuple[CarrierCall, ...]:
        self._fail()
        return tuple(
            call
            for call in self.calls.values()
            if (call.to, call.caller) == (to, caller)
            if call.created_at is None or call.created_at >= started_after
        )

    async def hang_up(self, call_sid: str) -> None:
        self._fail()
        if self.hang_up_errors:
            raise self.hang_up_errors.pop(0)
        self.hung_up.append(call_sid)

    async def cancel(self, call_sid: str) -> None:
        self._fail()
        self.canceled.append(call_sid)

    async def transfer(self, call_sid: str, request: TransferRequest) -> None:
        self._fail()
        self.transferred.append((call_sid, request))

    async def pause_recording(self, call_sid: str) -> None:
        self._fail()
        self.paused.append(call_sid)

    async def resume_recording(self, call_sid: str) -> None:
        self._fail()
        self.resumed.append(call_sid)

    async def list_recordings(self, call_sid: str) -> tuple[CarrierRecording, ...]:
        self._fail()
        return self.listed.get(call_sid, ())

    async def download_recording(self, recording_sid: str) -> AsyncGenerator[bytes, None]:
        self._fail()
        if recording_sid not in self.recordings:
            raise CarrierError("no such recording", code=20404, status=404, kind="gone")
        sound = self.recordings[recording_sid]
        yield sound[: len(sound) // 2]
        if self.download_errors:
            raise self.download_errors.pop(0)
        yield sound[len(sound) // 2 :]

    async def delete_recording(self, recording_sid: str) -> None:
        self._fail()
        self.recordings.pop(recording_sid, None)
        self.deleted_recordings.append(recording_sid)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
