"""Plays TwiML on one leg: each verb in turn, until one of them says where to go on.

A verb returns None to let the next one run, or the step to take instead. The task that runs a document is cancelled
to interrupt it (the caller hangs up, the REST interface sends a new document); every verb then leaves the line silent
and its sockets closed. When the last verb is over, so is the call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from voice_agent.audio.mulaw import BYTES_PER_MS, silence
from voice_agent.sandbox.carrier import twiml
from voice_agent.sandbox.carrier.connect import hold_stream
from voice_agent.sandbox.carrier.dial import Brief, dial
from voice_agent.sandbox.carrier.documents import RETRIEVAL_FAILED, Fetch, HangUp, Step, fetch_document
from voice_agent.sandbox.carrier.journal import VerbStarted
from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.sound_files import read_wav, to_mulaw

VERB_UNKNOWN = 12200
RELATIVE_ACTION = 15004

UNSPOKEN_MS_PER_CHARACTER = 60
"""How long a text lasts where the carrier has no synthesis: about 150 words a minute."""


class Interpreter:
    """Plays documents on `leg`, which must be answered."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._base_url = ""
        # Each verb's own method takes that verb: the table is the one place where the types meet.
        self._players: dict[type, Callable[[Any], Awaitable[Step | None]]] = {
            twiml.Say: self._say,
            twiml.Play: self._play,
            twiml.Pause: self._pause,
            twiml.Hangup: self._hang_up,
            twiml.Reject: self._hang_up,
            twiml.Redirect: self._redirect,
            twiml.Connect: self._connect,
            twiml.Dial: self._dial,
            twiml.Gather: self._gather,
            twiml.UnknownVerb: self._unknown,
        }

    async def run(self, document: twiml.Document) -> Step:
        """Play `document` and return where to go on."""
        self._base_url = document.base_url
        journal = self._leg.services.journal
        for verb in document.verbs:
            journal.write(
                VerbStarted(
                    at=journal.now,
                    call_sid=self._leg.record.sid,
                    verb=type(verb).__name__,
                    sample=self._leg.sample,
                )
            )
            step = await self._players[type(verb)](verb)
            if step is not None:
                return step
        return HangUp()

    async def _say(self, verb: twiml.Say) -> None:
        synthesise = self._leg.services.synthesise
        if synthesise is None:
            mulaw = silence(len(verb.text) * UNSPOKEN_MS_PER_CHARACTER * BYTES_PER_MS)
        else:
            mulaw = await asyncio.to_thread(synthesise, verb.text, verb.language)
        for _ in range(verb.loop):
            await self._leg.play(mulaw)

    async def _play(self, verb: twiml.Play) -> None:
        url = urljoin(self._base_url, verb.url)
        content = await self._leg.services.webhooks.download(url)
        try:
            mulaw = to_mulaw(await asyncio.to_thread(read_wav, content))
        except ValueError as error:
            self._leg.warn(RETRIEVAL_FAILED, f"{url}: {error}")
            return
        for _ in range(verb.loop):
            await self._leg.play(mulaw)

    async def _pause(self, verb: twiml.Pause) -> None:
        await asyncio.sleep(verb.length_s)

    async def _hang_up(self, _: twiml.Hangup | twiml.Reject) -> Step:
        return HangUp(is_ordered=True)

    async def _redirect(self, verb: twiml.Redirect) -> Step | None:
        return self._go_to(verb.url, verb.method)

    async def _connect(self, verb: twiml.Connect) -> Step | None:
        await hold_stream(self._leg, verb.stream)
        return self._go_to(verb.action, verb.method)

    async def _dial(self, verb: twiml.Dial) -> Step | None:
        return self._go_to(verb.action, verb.method, await dial(self._leg, verb, _whisper(verb)))

    async def _gather(self, verb: twiml.Gather) -> Step | None:
        digits = await self._collect(verb)
        return self._go_to(verb.action or self._base_url, verb.method, {"Digits": digits}) if digits else None

    async def _unknown(self, verb: twiml.UnknownVerb) -> None:
        self._leg.warn(VERB_UNKNOWN, f"<{verb.name}> is not played by the sandbox")

    async def _collect(self, verb: twiml.Gather) -> str:
        """Return the keys pressed; the first one silences the prompts. Keys pressed before do not count."""
        keys = self._leg.keys
        while not keys.empty():
            keys.get_nowait()
        prompts = asyncio.create_task(self._play_prompts(verb.prompts))
        digits = ""
        try:
            pressed = asyncio.create_task(keys.get())
            try:
                await asyncio.wait({prompts, pressed}, return_when=asyncio.FIRST_COMPLETED)
                async with asyncio.timeout(verb.timeout_s):
                    key = await pressed
                    prompts.cancel()
                    while key != verb.finish_on_key:
                        digits += key
                        if len(digits) == verb.num_digits:
                            break
                        key = await asyncio.wait_for(keys.get(), verb.timeout_s)
            except TimeoutError:
                pass
            finally:
                pressed.cancel()
        finally:
            prompts.cancel()
            await asyncio.wait({prompts})
        return digits

    async def _play_prompts(self, prompts: tuple[twiml.Say | twiml.Play | twiml.Pause, ...]) -> None:
        for prompt in prompts:
            await self._players[type(prompt)](prompt)

    def _go_to(self, url: str, method: twiml.Method, parameters: dict[str, str] | None = None) -> Step | None:
        """Return the step to `url`, None where there is none. A relative address needs a document's own."""
        if not url:
            return None
        target = urljoin(self._base_url, url)
        if not urlsplit(target).scheme:
            self._leg.warn(RELATIVE_ACTION, f"{url!r} is relative, and the document came without an address")
            return HangUp()
        return Fetch(target, method, parameters or {})


def _whisper(verb: twiml.Dial) -> Brief:
    async def brief(child: Leg) -> bool:
        """A whisper that cannot be had, or hangs up, keeps both apart."""
        step: Step = Fetch(verb.whisper_url, verb.whisper_method)
        if not verb.whisper_url:
            return True
        while isinstance(step, Fetch):
            document, _ = await fetch_document(child, step)
            if document is None:
                return False
            step = await Interpreter(child).run(document)
        return not step.is_ordered

    return brief
