"""What is printed of a call that came over the API."""

from pathlib import Path

import pytest
from rich.console import Console

from tests.sandbox.demo.api_server import detail, line, listed, wav
from voice_agent.sandbox.demo.api import CallOverApi, examine
from voice_agent.sandbox.demo.api_view import api_view, how_to_ask

SOUND = wav()


def shown(*, width: int = 80, **changes: object) -> str:
    seen = CallOverApi(call=detail(SOUND, **changes), recording=listed(SOUND), copy=examine(SOUND, Path("/copy.wav")))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(api_view(seen))
    return capture.get()


def test_every_part_stands_beneath_the_request_that_got_it() -> None:
    text = shown()

    order = [
        "GET /api/v1/calls ",
        "│ inbound   │ ended │ human   │ 80 s     │ Harbour │",
        "GET /api/v1/calls/c1\n",
        " 0:01.2  agent   Good morning.\n",
        " 0:01.2  caller  what does it cost\n",
        " 0:01.2  agent   It costs thirty euros, and more.\n",
        "                 interrupted, heard up to “It costs thirty”\n",
        " 0:01.2  tool    end_call()\n",
        "         timing  3 answers, voice to voice p50 500 ms\n",
        "GET /api/v1/calls/…/recordings/r1/link\n",
        "         sound   2.0 s, 2 channels at 8,000 Hz, 64,044 bytes\n",
        "                 loudness: caller silent, agent -20.5 dBFS\n",
        f"                 as stated: length, channels, SHA-256 {examine(SOUND, Path()).sha256[:16]}…\n",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, text
    assert places == sorted(places)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = shown(width=width, transcript=[line("agent", "one and two and " * 20)]).splitlines()

    assert all(len(each) <= width for each in lines)
    assert len(lines) == len(shown(width=width, transcript=[line("agent", "short")]).splitlines())


def test_what_is_not_known_is_a_dash() -> None:
    text = shown(outcome=None, duration_s=None, turns=[])

    assert "│ inbound   │ ended │ –       │ –        │ Harbour │" in text
    assert "0 answers\n" in text


@pytest.mark.parametrize(
    ("heard", "said"),
    [("", "nothing of it was heard"), ("a b c d e f g h", "heard up to “… d e f g h”"), ("a b", "heard up to “a b”")],
)
def test_an_interrupted_reply_says_where_it_was_cut(heard: str, said: str) -> None:
    text = shown(transcript=[line("agent", "a b c d e f g h i j", heard=heard, is_interrupted=True)])

    assert f" interrupted, {said}\n" in text


@pytest.mark.parametrize(
    ("program", "command"),
    [(".venv/bin/voice-agent", ".venv/bin/voice-agent"), ("/x/voice_agent/__main__.py", "voice-agent")],
)
def test_the_list_can_be_asked_for_by_hand(program: str, command: str) -> None:
    assert list(how_to_ask(Path("my data"), program)) == [
        "To ask yourself, run a server over the same data, and make a key:",
        f"  DATA_DIR='my data' {command} serve",
        f"  KEY=$(DATA_DIR='my data' {command} api-key me)",
        '  curl -H "X-API-Key: $KEY" http://127.0.0.1:8000/api/v1/calls',
    ]
