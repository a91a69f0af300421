"""A call on the terminal as the API has it: its row, what was said, its timing and its recording, a screen at most.

Each part stands beneath the request that got it, so that whoever watches learns the interface on the way. Long lines
are cut: the transcript's file has them whole.
"""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voice_agent.sandbox.demo.api import CALLS, CallOverApi, Copy, Detail, Line, ListedRecording
from voice_agent.sandbox.demo.screen import TIME_WIDTH, WHO_WIDTH, arguments_of, clock

STYLES = {"agent": "green", "caller": "cyan", "tool": "magenta", "keys": "cyan"}

LAST_WORDS = 5
SHOWN_OF_DIGEST = 16
PROGRAM = "voice-agent"


def api_view(seen: CallOverApi) -> RenderableType:
    """Return the call with its requests."""
    return Group(*_parts(seen))


def _parts(seen: CallOverApi) -> Iterator[RenderableType]:
    yield Text("The same call through the API", "bold")
    yield _row(seen.call)
    yield _request(f"{CALLS}/{seen.call.id}")
    for entry in seen.call.transcript:
        yield from _said(entry)
    yield _line(None, "timing", _timing(seen))
    yield _request(f"{CALLS}/…/recordings/{seen.recording.id}/link")
    yield _line(None, "sound", _sound(seen.copy))
    yield _line(None, "", f"loudness: {_loudness(seen.recording)}")
    yield _line(None, "", f"as stated: length, channels, SHA-256 {seen.copy.sha256[:SHOWN_OF_DIGEST]}…")


def _request(path: str) -> Text:
    return Text(f"GET {path}", "italic", no_wrap=True, overflow="ellipsis")


def _line(at: float | None, who: str, text: str, style: str = "") -> Text:
    """Return a line as the screen has them, cut to the terminal's width."""
    time = "" if at is None else clock(at)
    parts = ((f"{time:>{TIME_WIDTH}}  ", "dim"), (f"{who:<{WHO_WIDTH}}  ", style), (text, style))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _row(call: Detail) -> Table:
    table = Table(title=f"GET {CALLS}", title_justify="left")
    cells = {
        "direction": call.direction,
        "state": call.state.value,
        "outcome": call.outcome or "–",
        "duration": "–" if call.duration_s is None else f"{call.duration_s} s",
        "agent": call.agent_name,
    }
    for name in cells:
        table.add_column(name)
    table.add_row(*(Text(cell) for cell in cells.values()))
    return table


def _said(entry: Line) -> Iterator[RenderableType]:
    text = entry.text
    if entry.details is not None:
        text = f"{entry.details['name']}({arguments_of(entry.details['arguments'])})"
    yield _line(entry.started_at, entry.kind, text, STYLES.get(entry.kind, ""))
    if entry.is_interrupted:
        yield _line(None, "", f"interrupted, {_heard(entry.heard or '')}", "bold yellow")


def _heard(text: str) -> str:
    """Say where the caller's cut came: the last words that were heard."""
    words = text.split()
    before = "… " if len(words) > LAST_WORDS else ""
    return f"heard up to “{before}{' '.join(words[-LAST_WORDS:])}”" if words else "nothing of it was heard"


def _timing(seen: CallOverApi) -> str:
    p50_ms = seen.turn_p50_ms
    median = "" if p50_ms is None else f", voice to voice p50 {p50_ms:.0f} ms"
    return f"{len(seen.call.turns)} answers{median}"


def _sound(copy: Copy) -> str:
    return f"{copy.duration_s:.1f} s, {copy.channels} channels at {copy.rate_hz:,} Hz, {copy.size_bytes:,} bytes"


def _loudness(recording: ListedRecording) -> str:
    levels = (recording.loudness_db or {}).items()
    return ", ".join(f"{who} {'silent' if db is None else f'{db:.1f} dBFS'}" for who, db in levels) or "not measured"


def how_to_ask(data_dir: Path, program: str = "") -> Iterator[str]:
    """Yield the lines with which the list is asked for by hand; `program` is by default what runs now."""
    running = program or sys.argv[0]
    command = f"DATA_DIR={shlex.quote(str(data_dir))} " + (running if Path(running).name == PROGRAM else PROGRAM)
    yield "To ask yourself, run a server over the same data, and make a key:"
    yield f"  {command} serve"
    yield f"  KEY=$({command} api-key me)"
    yield f'  curl -H "X-API-Key: $KEY" http://127.0.0.1:8000{CALLS}'
