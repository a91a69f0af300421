"""A call from its first ring to its end: loads documents, has them played, and takes orders while they run."""

import asyncio
from collections.abc import Coroutine

import msgspec

from voice_agent.sandbox.carrier import twiml
from voice_agent.sandbox.carrier.documents import Fetch, HangUp, Step, fetch_document
from voice_agent.sandbox.carrier.interpreter import Interpreter
from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.line import Party
from voice_agent.sandbox.carrier.machines import MachineDetection, Verdict, judge
from voice_agent.sandbox.carrier.record import CallRecord, Status
from voice_agent.sandbox.carrier.services import Callee

_APOLOGY = twiml.Document(
    (twiml.Say("We are sorry, an application error has occurred. Goodbye."), twiml.Hangup()),
)


class Application(msgspec.Struct, frozen=True):
    """What a number does with its calls: the first document, and the one to try where that fails."""

    start: Fetch | twiml.Document
    fallback: Fetch | None = None


Order = Fetch | twiml.Document | HangUp


class Call:
    """One call. Its task runs `receive` or `place`; everything else may be called at any moment."""

    def __init__(
        self,
        leg: Leg,
        application: Application,
        *,
        time_limit_s: float = 14_400.0,
        detection: MachineDetection | None = None,
    ) -> None:
        self.leg = leg
        self.ended = asyncio.Event()
        self._application = application
        self._time_limit_s = time_limit_s
        self._detection = detection
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._unanswered: Status = "no-answer"

    @property
    def record(self) -> CallRecord:
        """The call as the REST interface shows it."""
        return self.leg.record

    def redirect(self, to: Fetch | twiml.Document) -> None:
        """Interrupt the running document and go on with another."""
        self._orders.put_nowait(to)

    def hang_up(self) -> None:
        """End the call from the carrier's side; one that was not yet answered is canceled."""
        self._unanswered = "canceled"
        self._orders.put_nowait(HangUp())

    def drop_stream(self) -> None:
        """Lose the media stream in mid-call; the document goes on behind it, as after the server's death."""
        if self.leg.stream is not None:
            self.leg.stream.drop()

    async def receive(self, person: Party) -> None:
        """Run an inbound call: the first document decides whether `person` is answered."""
        try:
            self.leg.change("ringing")
            await self._supervise(self._answer(person))
        finally:
            self._finish()
            if not self.leg.is_answered:
                person.on_hang_up()

    async def place(self, callee: Callee, *, ring_timeout_s: float, queued_s: float) -> None:
        """Run an outbound call: wait in the queue, ring, and play the document where somebody answers."""
        try:
            await self._supervise(self._reach(callee, ring_timeout_s, queued_s))
        finally:
            self._finish()

    async def _answer(self, person: Party) -> None:
        document = await self._load(self._application.start)
        if document.verbs and isinstance(document.verbs[0], twiml.Reject):
            self._unanswered = "busy" if document.verbs[0].reason == "busy" else "no-answer"
            return
        self.leg.answer(person)
        await self._play(document)

    async def _reach(self, callee: Callee, ring_timeout_s: float, queued_s: float) -> None:
        await asyncio.sleep(queued_s)
        self.leg.begin()
        if self.record.error_code:
            self._unanswered = "failed"
            return
        outcome = await self.leg.ring(callee, ring_timeout_s)
        if outcome != "in-progress":
            self._unanswered = outcome
            return
        await self._play(await self._listened(callee))

    async def _listened(self, callee: Callee) -> Fetch | twiml.Document:
        """Return the first document: at once, or after the verdict on who answered where that was asked for."""
        start, asked = self._application.start, self._detection
        if asked is None:
            return start
        verdict = judge(callee.nature, detection_s=callee.detection_s, message_s=callee.message_s, asked=asked)
        if asked.is_asynchronous:
            self.leg.services.background.spawn(self._tell_later(verdict, asked))
            return start
        await asyncio.sleep(verdict.after_s)
        self._note(verdict)
        if isinstance(start, twiml.Document):
            return start
        return Fetch(start.url, start.method, start.parameters | verdict.as_parameters())

    async def _tell_later(self, verdict: Verdict, asked: MachineDetection) -> None:
        """Tell who answered once that is known, if the call is still going on then."""
        try:
            await asyncio.wait_for(self.ended.wait(), verdict.after_s)
        except TimeoutError:
            self._note(verdict)
            parameters = {"CallSid": self.record.sid, "AccountSid": self.record.account_sid} | verdict.as_parameters()
            if asked.callback:
                await self.leg.services.webhooks.request(
                    asked.callback, parameters, method=asked.method, call_sid=self.record.sid
                )

    def _note(self, verdict: Verdict) -> None:
        self.record.answered_by = verdict.answered_by
        self.record.detection_ms = round(verdict.after_s * 1_000)

    async def _supervise(self, first: Coroutine[None, None, None]) -> None:
        """Run `first`, then what the orders say, until a document ends, somebody hangs up or the time is over."""
        work: Coroutine[None, None, None] | None = first
        try:
            async with asyncio.timeout(self._time_limit_s):
                while work is not None:
                    order = await self._run_until_order(work)
                    work = None if isinstance(order, HangUp) else self._play(order)
        except TimeoutError:
            self.leg.warn(0, f"the time limit of {self._time_limit_s:g} s is over")

    async def _run_until_order(self, work: Coroutine[None, None, None]) -> Order:
        running = asyncio.create_task(work)
        order = asyncio.create_task(self._orders.get())
        hung_up = asyncio.create_task(self.leg.hung_up.wait())
        tasks = (running, order, hung_up)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            return order.result() if order.done() and not hung_up.done() else HangUp()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _play(self, start: Fetch | twiml.Document) -> None:
        interpreter = Interpreter(self.leg)
        step: Step | twiml.Document = start
        while not isinstance(step, HangUp):
            step = await interpreter.run(await self._load(step))

    async def _load(self, source: Fetch | twiml.Document) -> twiml.Document:
        """Return the document at `source`, else the fallback's, else Twilio's apology."""
        if isinstance(source, twiml.Document):
            return source
        document, code = await fetch_document(self.leg, source)
        if document is None and self._application.fallback is not None:
            fallback = self._application.fallback
            explained = fallback.parameters | {"ErrorCode": str(code), "ErrorUrl": source.url}
            document, _ = await fetch_document(self.leg, Fetch(fallback.url, fallback.method, explained))
        return _APOLOGY if document is None else document

    def _finish(self) -> None:
        try:
            self.leg.end("completed" if self.leg.is_answered else self._unanswered)
        finally:
            self.ended.set()
