"""What every benchmark ends with: figures, as a table for people and as JSON for whoever compares runs.

A benchmark exits non-zero only where it could not measure; a figure that was missed is a result like any other.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value."""

    figure: str
    """What was measured."""
    value: float
    unit: str
    floor: float | None = None
    """The same work without any framework, measured in the same run; None where there is no such thing."""
    reach: float | None = None
    """The value to reach, at most; None where the figure is only told."""
    ok: bool


def figure(name: str, value: float, unit: str, *, floor: float | None = None, reach: float | None = None) -> Figure:
    """Return a figure that is fine while it is at most `reach`."""
    rounded = round(value, 3)
    return Figure(
        figure=name,
        value=rounded,
        unit=unit,
        floor=None if floor is None else round(floor, 3),
        reach=reach,
        ok=reach is None or rounded <= reach,
    )


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with the `--json FILE` that all benchmarks have."""
    command_line = argparse.ArgumentParser(description=description)
    command_line.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return command_line


def write_figures(path: Path | None, figures: Sequence[Figure]) -> None:
    """Print the figures as a table and, where there is a `path`, write them there as a JSON list."""
    table = Table("figure", "value", "floor", "ratio", "reach", "ok")
    for each in figures:
        ratio = "" if not each.floor else f"{each.value / each.floor:.2f}"
        table.add_row(
            each.figure, f"{each.value:g} {each.unit}", _text(each.floor), ratio, _text(each.reach),
            "yes" if each.ok else "NO",
        )  # fmt: skip
    Console(width=160).print(table)
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
