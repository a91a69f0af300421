import os
import signal
from collections.abc import AsyncIterator

import msgspec
import psutil
import pytest

from tests.contracts.speech_to_text import Hearing, Listening, SpeechToTextContract
from voice_agent.agents.files import LIBRARY, load_dialogue
from voice_agent.errors import ProviderBusy, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.local import pocketsphinx
from voice_agent.integrations.local.espeak import EspeakSynthesiser
from voice_agent.integrations.local.pocketsphinx import LocalSpeechToText

DIALOGUE = load_dialogue(LIBRARY / "harbour_dental.dialogue.yaml")
ONE = "hello i would like to book an appointment please"
OTHER = "at half past nine please"


def speech(text: str) -> bytes:
    clip = EspeakSynthesiser().clip(text, "en", "en-us+adam")
    return clip + b"\xff" * (-len(clip) % 160)


@pytest.fixture
async def stt() -> AsyncIterator[LocalSpeechToText]:
    port = LocalSpeechToText(DIALOGUE)
    yield port
    await port.close()


@pytest.fixture
def hearing(stt: LocalSpeechToText) -> Hearing:
    return Hearing(port=stt, clip=speech(ONE), text=ONE, other_clip=speech(OTHER), other_text=OTHER)


class TestContract(SpeechToTextContract):
    @pytest.fixture
    def hearing(self, stt: LocalSpeechToText) -> Hearing:
        return Hearing(port=stt, clip=speech(ONE), text=ONE, other_clip=speech(OTHER), other_text=OTHER)


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "recognition_worker" in " ".join(child.cmdline())]


async def test_one_worker_serves_all_calls_and_ends_with_the_port(hearing: Hearing, stt: LocalSpeechToText) -> None:
    await stt.start()
    await stt.start()
    listenings = [Listening.to(hearing) for _ in range(3)]
    assert len(workers()) == 1
    for listening in listenings:
        listening.send(hearing.other_clip)
        listening.commit()
    for listening in listenings:
        await listening.final(1)
        await listening.close()
    await stt.close()

    assert [listening.finals for listening in listenings] == [[OTHER.split()]] * 3
    assert workers() == []


async def test_a_dead_worker_is_replaced_and_told_again_what_it_had_not_answered(
    hearing: Hearing, stt: LocalSpeechToText
) -> None:
    await stt.start()
    listening = Listening.to(hearing)
    listening.send(hearing.clip)
    listening.commit()
    listening.send(hearing.other_clip)
    os.kill(workers()[0].pid, signal.SIGKILL)
    listening.commit()
    await listening.final(2)

    assert listening.finals == [ONE.split(), OTHER.split()]
    assert listening.lost == []
    await listening.close()


async def test_a_worker_that_hangs_is_replaced() -> None:
    stt = LocalSpeechToText(DIALOGUE, answer_s=2.0, tick_s=0.1)
    await stt.start()
    listening = Listening.to(Hearing(port=stt, clip=b"", text="", other_clip=b"", other_text=""))
    os.kill(workers()[0].pid, signal.SIGSTOP)
    listening.send(speech(OTHER))
    listening.commit()
    await listening.final(1)

    assert listening.finals == [OTHER.split()]
    await listening.close()
    await stt.close()


async def test_a_worker_that_keeps_ending_loses_its_streams_and_a_later_call_tries_again(
    hearing: Hearing, stt: LocalSpeechToText, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/bin/false")
        listening = Listening.to(hearing)
        await listening.until(lambda: bool(listening.lost))
        with pytest.raises(ProviderUnavailable, match="keeps ending"):
            await stt.start()

    assert isinstance(listening.lost[0].error, ProviderUnavailable)
    assert len(listening.reports) == 1
    later = Listening.to(hearing)
    later.send(hearing.other_clip)
    later.commit()
    await later.final(1)
    assert later.finals == [OTHER.split()]
    await later.close()


async def test_a_grammar_that_cannot_be_used_is_refused_for_good() -> None:
    stt = LocalSpeechToText(msgspec.structs.replace(DIALOGUE, pronunciations={}))

    with pytest.raises(ProviderRefused, match="toothache"):
        await stt.start()
    await stt.close()


def test_a_dialogue_in_another_language_is_refused() -> None:
    with pytest.raises(ProviderRefused, match="English only, not 'es': set SPEECH_TO_TEXT"):
        LocalSpeechToText(msgspec.structs.replace(DIALOGUE, language="es"))


async def test_a_call_in_another_language_is_lost_with_the_reason(hearing: Hearing) -> None:
    hearing.language = "es"
    listening = Listening.to(hearing)
    listening.send(hearing.clip)
    await listening.until(lambda: bool(listening.lost))

    assert isinstance(listening.lost[0].error, ProviderRefused)
    await listening.close()


async def test_more_calls_than_a_worker_can_serve_are_lost_as_busy() -> None:
    stt = LocalSpeechToText(DIALOGUE, max_streams=1)
    hearing = Hearing(port=stt, clip=b"", text="", other_clip=b"", other_text="")
    first, second = Listening.to(hearing), Listening.to(hearing)
    await second.until(lambda: bool(second.lost))

    assert isinstance(second.lost[0].error, ProviderBusy)
    await first.close()
    third = Listening.to(hearing)
    third.commit()
    await third.final(1)
    assert third.finals == [[]]
    await third.close()
    await stt.close()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocketsphinx, "find_spec", lambda _: None)

    with pytest.raises(ProviderRefused, match=r"voice-agent\[local\]"):
        LocalSpeechToText(DIALOGUE)
