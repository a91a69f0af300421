"""The doubles' own interface, `/sandbox/…`: teach, script, break and question a server of another process."""

from time import monotonic

import msgspec
from aiohttp import web

from voice_agent.sandbox.providers.config import Timings
from voice_agent.sandbox.providers.dialogue import Dialogue
from voice_agent.sandbox.providers.faults import FaultPlan
from voice_agent.sandbox.providers.journal import Exchange, Service
from voice_agent.sandbox.providers.world import World

_JSON = "application/json"


class PhraseEntry(msgspec.Struct, forbid_unknown_fields=True):
    """A recorded phrase."""

    audio: bytes
    """mu-law at 8,000 Hz, base64 in JSON."""
    text: str
    word_ends_ms: tuple[float, ...] = ()


class PhraseEntries(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /sandbox/phrases."""

    phrases: tuple[PhraseEntry, ...]


class JournalPage(msgspec.Struct):
    """The answer of GET /sandbox/journal."""

    now_s: float
    """`time.monotonic` at the doubles."""
    exchanges: list[Exchange]


def _refused(error: Exception) -> web.Response:
    return web.json_response({"error": str(error)}, status=422)


class Control:
    """The handlers."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read_journal(self, request: web.Request) -> web.Response:
        """Return the exchanges, of one `service` and with a number above `after` where those are given."""
        try:
            service = Service(request.query["service"]) if "service" in request.query else None
            exchanges = self._world.journal.exchanges(service, after=int(request.query.get("after", "0")))
        except ValueError as error:
            return _refused(error)
        return web.Response(body=msgspec.json.encode(JournalPage(monotonic(), exchanges)), content_type=_JSON)

    async def clear_journal(self, _: web.Request) -> web.Response:
        """Forget what has happened."""
        self._world.journal.clear()
        return web.Response(status=204)

    async def add_phrases(self, request: web.Request) -> web.Response:
        """Teach phrases."""
        try:
            for entry in msgspec.json.decode(await request.read(), type=PhraseEntries).phrases:
                self._world.phrases.add(entry.audio, entry.text, entry.word_ends_ms)
        except (msgspec.DecodeError, ValueError) as error:
            return _refused(error)
        return web.json_response({"phrases": len(self._world.phrases)})

    async def set_dialogue(self, request: web.Request) -> web.Response:
        """Replace the dialogue."""
        try:
            self._world.converse(msgspec.json.decode(await request.read(), type=Dialogue))
        except msgspec.DecodeError as error:
            return _refused(error)
        return web.Response(status=204)

    async def set_faults(self, request: web.Request) -> web.Response:
        """Replace the plans of the services that are named."""
        try:
            plans = msgspec.json.decode(await request.read(), type=dict[Service, FaultPlan])
        except msgspec.DecodeError as error:
            return _refused(error)
        for service, plan in plans.items():
            self._world.faults.plan(service, plan)
        return web.Response(status=204)

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Let everything be well."""
        self._world.faults.clear()
        return web.Response(status=204)

    async def set_timings(self, request: web.Request) -> web.Response:
        """Replace the timings; what is not named takes its default."""
        try:
            self._world.timings = msgspec.json.decode(await request.read(), type=Timings)
        except msgspec.DecodeError as error:
            return _refused(error)
        return web.Response(status=204)


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of the control interface."""
    control = Control(world)
    return [
        web.get("/sandbox/journal", control.read_journal),
        web.delete("/sandbox/journal", control.clear_journal),
        web.post("/sandbox/phrases", control.add_phrases),
        web.post("/sandbox/dialogue", control.set_dialogue),
        web.post("/sandbox/faults", control.set_faults),
        web.delete("/sandbox/faults", control.clear_faults),
        web.post("/sandbox/timings", control.set_timings),
    ]
