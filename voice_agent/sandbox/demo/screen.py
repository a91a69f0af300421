"""A call on the terminal, line by line as it happens: who says what, who cuts in, what is used, how long it took.

Fed with the events of the call's log and what the turn machine decided on them. Lines are only ever added, so the
same output is right for a terminal, a pipe and a file. Times at the left are seconds of the call.
"""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voice_agent.pipeline.actions import (
    AnyAction,
    CancelReply,
    ConfirmReply,
    HangUp,
    ResumePlayback,
    RunTool,
    Speak,
    StartReply,
    StopPlayback,
    TransferCall,
    TrimHistory,
)
from voice_agent.pipeline.events import (
    AnyEvent,
    CallEnded,
    DigitPressed,
    PlaybackFinished,
    PlaybackStarted,
    PlaybackStopped,
    ReplyFailed,
    SpeechStarted,
    SynthesisFailed,
    ToolFinished,
    TranscriptFinal,
    TranscriptionFailed,
)
from voice_agent.pipeline.latency import LatencyTracker, TurnLatency

TIME_WIDTH, WHO_WIDTH = 7, 6
"""Characters."""

STAGES = (
    ("endpointing", "endpointing_ms"),
    ("STT", "stt_ms"),
    ("LLM", "llm_ms"),
    ("tools", "tools_ms"),
    ("TTS", "tts_ms"),
    ("ours", "ours_ms"),
)


class Screen:
    """Shows one call. Give `show` every event with the actions it caused, in order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latency = LatencyTracker()
        self._questions: dict[int, str] = {}
        self._unheard: dict[int, str] = {}
        """Text of replies that have not begun to sound, by turn."""
        self._sounding: int | None = None
        """The turn of the reply that sounds."""
        self._sound_at: float | None = None
        """When the caller's sound over the agent began."""
        self._spoke_at: float | None = None
        self._stopped_at = 0.0
        self._heard_ms = 0.0

    def show(self, event: AnyEvent, actions: tuple[AnyAction, ...]) -> None:
        """Show what an event and its actions mean to somebody who watches."""
        timed = self._latency.observe(event, actions)
        self._note(event)
        for action in actions:
            self._perform(event.at, action)
        if timed is not None:
            self._line(None, "", latency_line(timed), "dim")
        self._remark_sound(event)

    # --- events -----------------------------------------------------------------------------------------------
    def _note(self, event: AnyEvent) -> None:
        match event:
            case SpeechStarted():
                self._hear(event)
            case PlaybackStarted():
                self._begin_agent(event)
            case PlaybackFinished():
                self._sounding = self._sound_at = None
            case PlaybackStopped():
                self._heard_ms = event.heard_ms
            case DigitPressed():
                self._line(event.at, "keys", event.digit, "cyan")
            case ToolFinished() if event.is_error:
                self._line(event.at, "tool", f"failed: {event.result}", "red")
            case TranscriptionFailed() | ReplyFailed() | SynthesisFailed():
                self._line(event.at, "fault", f"{type(event).__name__}: {event.reason}", "red")
            case CallEnded():
                self._line(event.at, "call", "ended", "bold")

    def _hear(self, event: SpeechStarted) -> None:
        if self._sounding is not None:
            self._sound_at = self._spoke_at = event.began_at
        elif self._spoke_at is None:
            self._spoke_at = event.began_at

    def _begin_agent(self, event: PlaybackStarted) -> None:
        text = self._unheard.pop(event.turn, "")
        if text:
            self._sounding = event.turn
            self._spoke_at = None
            self._line(event.at, "agent", text, "green")

    def _remark_sound(self, event: AnyEvent) -> None:
        """The words of a sound over the agent are known and did not stop it."""
        if isinstance(event, TranscriptFinal) and self._sound_at is not None and self._sounding is not None:
            self._line(self._sound_at, "caller", f"{_quoted(event.text)}: the agent goes on", "yellow")
            self._sound_at = self._spoke_at = None

    # --- actions ----------------------------------------------------------------------------------------------
    def _perform(self, at: float, action: AnyAction) -> None:
        match action:
            case StartReply() | ConfirmReply():
                self._take_turn(at, action)
            case Speak():
                self._speak(action)
            case CancelReply():
                self._unheard.pop(action.turn, None)
            case StopPlayback():
                self._stopped_at = at
                self._sounding = None
            case ResumePlayback():
                self._resume(at, action)
            case TrimHistory():
                self._cut()
            case RunTool():
                self._line(at, "tool", f"{action.name}({arguments_of(action.arguments)})", "magenta")
            case HangUp():
                self._line(at, "call", f"the agent hangs up: {action.reason}", "bold")
            case TransferCall():
                self._line(at, "call", f"the agent transfers to {action.target}", "bold")

    def _take_turn(self, at: float, action: StartReply | ConfirmReply) -> None:
        """The caller's words are settled once their reply is confirmed."""
        if isinstance(action, StartReply):
            self._questions[action.turn] = action.text
            if not action.confirmed:
                return
        self._show_caller(at, self._questions.pop(action.turn, ""))

    def _show_caller(self, at: float, text: str) -> None:
        self._line(at if self._spoke_at is None else self._spoke_at, "caller", text, "cyan")
        self._spoke_at = self._sound_at = None

    def _speak(self, action: Speak) -> None:
        if action.turn == self._sounding:
            self._line(None, "", action.text.strip(), "green")
        else:
            before = self._unheard.get(action.turn, "")
            self._unheard[action.turn] = f"{before} {action.text.strip()}".strip()

    def _resume(self, at: float, action: ResumePlayback) -> None:
        paused_ms = (at - self._stopped_at) * 1_000
        self._sounding = action.turn
        began_at = self._stopped_at if self._sound_at is None else self._sound_at
        self._line(began_at, "caller", f"no interruption: the agent paused for {paused_ms:.0f} ms, goes on", "yellow")
        self._sound_at = self._spoke_at = None

    def _cut(self) -> None:
        began_at = self._stopped_at if self._spoke_at is None else self._spoke_at
        heard_s = self._heard_ms / 1_000
        stop_ms = (self._stopped_at - began_at) * 1_000
        text = f"cuts in: the agent stops {stop_ms:.0f} ms later, {heard_s:.1f} s of its answer were heard"
        self._line(began_at, "caller", text, "bold yellow")
        self._sounding = self._sound_at = None

    # --- lines ------------------------------------------------------------------------------------------------
    def _line(self, at: float | None, who: str, text: str, style: str) -> None:
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=TIME_WIDTH, justify="right", style="dim")
        row.add_column(width=WHO_WIDTH)
        row.add_column(overflow="fold")
        row.add_row(Text("" if at is None else clock(at)), Text(who, style), Text(text, style))
        self._console.print(row)


def latency_line(timed: TurnLatency) -> str:
    """Return where the time of one turn went; stages that took nothing are left out."""
    parts = [f"{name} {ms:.0f}" for name, field in STAGES if (ms := getattr(timed, field)) >= 0.5]
    notes = ["prepared while waiting"] if timed.speculated else []
    if timed.discarded:
        notes.append(f"{timed.discarded} discarded")
    total = f"{timed.voice_to_voice_ms:.0f} ms = {' + '.join(parts)}"
    return f"{total} ({', '.join(notes)})" if notes else total


def _quoted(text: str) -> str:
    return f"“{text.strip()}”" if text.strip() else "(a sound)"


def arguments_of(arguments: str) -> str:
    """Return a tool's arguments as they are shown: nothing for none."""
    return "" if arguments.strip() in ("", "{}") else arguments


def clock(at: float) -> str:
    """Return a second of the call as minutes, seconds and tenths."""
    minutes, tenths = divmod(round(at * 10), 600)
    return f"{minutes}:{tenths / 10:04.1f}"
