"""The carrier's REST interface: the Recordings resource of Twilio's 2010-04-01 API.

Source: https://www.twilio.com/docs/voice/api/recording. Not here: recordings that are begun by a request, MP3,
`RequestedChannels`, lists of a whole account.
"""

from typing import Protocol

from aiohttp import web

from voice_agent.sandbox.carrier.call import Call
from voice_agent.sandbox.carrier.faults import RecordingFault
from voice_agent.sandbox.carrier.forms import RestError, missing, read_form
from voice_agent.sandbox.carrier.journal import Journal, RecordingFaulted
from voice_agent.sandbox.carrier.recorder import Recorder
from voice_agent.sandbox.carrier.recordings import RUNNING, Recording, RecordingShelf

CURRENT = "Twilio.CURRENT"
"""In place of a recording's name: the one that is running."""


class Shelf(Protocol):
    """What the routes need from the carrier."""

    recordings: RecordingShelf

    def find_call(self, call_sid: str) -> Call | None:
        """Return a call by its SID."""
        ...


class RecordingRoutes:
    """The routes; `under` gives them to an application."""

    def __init__(self, exchange: Shelf, journal: Journal, account_sid: str) -> None:
        self._exchange = exchange
        self._journal = journal
        self._account_sid = account_sid

    def under(self, account: str) -> list[web.RouteDef]:
        """Return them under the path of an account."""
        return [
            web.get(f"{account}/Calls/{{call_sid}}/Recordings.json", self._list),
            web.post(f"{account}/Calls/{{call_sid}}/Recordings/{{recording_sid}}.json", self._update),
            web.get(f"{account}/Recordings/{{recording_sid}}.json", self._fetch),
            web.get(f"{account}/Recordings/{{recording_sid}}.wav", self._fetch_sound),
            web.delete(f"{account}/Recordings/{{recording_sid}}.json", self._delete),
        ]

    def _recording_of(self, request: web.Request) -> Recording:
        recording = self._exchange.recordings.find(request.match_info["recording_sid"])
        if recording is None or request.match_info["account_sid"] != self._account_sid:
            raise missing(request)
        return recording

    async def _list(self, request: web.Request) -> web.Response:
        call = self._exchange.find_call(request.match_info["call_sid"])
        if call is None or request.match_info["account_sid"] != self._account_sid:
            raise missing(request)
        recordings = self._exchange.recordings.of_call(call.record.sid)
        shown = [each.as_resource() for each in recordings if each.status != "deleted"]
        return web.json_response(
            {
                "recordings": shown,
                "page": 0,
                "page_size": 50,
                "uri": str(request.rel_url),
                "first_page_uri": str(request.rel_url),
                "next_page_uri": None,
                "previous_page_uri": None,
                "start": 0,
                "end": max(0, len(shown) - 1),
            }
        )

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._recording_of(request).as_resource())

    async def _fetch_sound(self, request: web.Request) -> web.StreamResponse:
        recording = self._recording_of(request)
        if recording.status != "completed":
            raise missing(request)
        fault = self._exchange.recordings.next_fault(recording)
        if fault is not None:
            self._note_fault(recording, fault)
        match fault:
            case RecordingFault.NOT_READY:
                raise missing(request)
            case RecordingFault.FAILED:
                raise RestError(500, 20500, "Internal Server Error")
            case RecordingFault.BROKEN:
                return await _break_off(request, recording.sound())
            case None:
                return web.Response(body=recording.sound(), content_type="audio/x-wav")

    async def _update(self, request: web.Request) -> web.Response:
        recorder = self._running(request)
        form = await read_form(request)
        match form.get("Status", ""):
            case "paused":
                recorder.pause("skip" if form.get("PauseBehavior") == "skip" else "silence")
            case "in-progress":
                recorder.resume()
            case "stopped":
                recorder.finish()
            case status:
                raise RestError(400, 20001, f"Invalid Status: {status}")
        return web.json_response(recorder.recording.as_resource())

    def _running(self, request: web.Request) -> Recorder:
        call = self._exchange.find_call(request.match_info["call_sid"])
        recorder = None if call is None else call.leg.recorder
        wanted = request.match_info["recording_sid"]
        if recorder is None or wanted not in (CURRENT, recorder.recording.sid):
            raise missing(request)
        if not recorder.is_running:
            raise missing(request) if wanted == CURRENT else RestError(400, 21220, "Recording is not in progress.")
        return recorder

    async def _delete(self, request: web.Request) -> web.Response:
        recording = self._recording_of(request)
        if recording.status in RUNNING:
            raise RestError(400, 20001, "A recording that is in progress cannot be deleted.")
        self._exchange.recordings.delete(recording)
        return web.Response(status=204)

    def _note_fault(self, recording: Recording, fault: RecordingFault) -> None:
        self._journal.write(
            RecordingFaulted(
                at=self._journal.now, call_sid=recording.call_sid, recording_sid=recording.sid, fault=fault
            )
        )


async def _break_off(request: web.Request, sound: bytes) -> web.StreamResponse:
    """Send half of the sound; then the connection ends."""
    response = web.StreamResponse()
    response.content_type = "audio/x-wav"
    response.content_length = len(sound)
    await response.prepare(request)
    await response.write(sound[: len(sound) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
