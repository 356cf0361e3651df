"""What the commands print: progress, tables and errors, the same on a terminal and in a log file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING

# What is heavy is imported where it is used: the help is to be there at once.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from app.migration.sources.source import Progress as ProgressProtocol

_WIDTH, _WIDEST = 240, 10_000
# One long value would make each line of its table as long, which a terminal wraps; its style may end after them.
_BLANKS_AT_THE_END = re.compile(r" +((?:\x1b\[0m)?)$", re.MULTILINE)
_SECONDS_BETWEEN_LINES = 5.0


@cache
def console() -> Console:
    """Where words go; wide, so that a table is never cut or folded: a narrower terminal wraps its lines."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, emoji=False, width=_WIDTH)


@cache
def errors() -> Console:
    """Where progress and complaints go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class _Lines:
    """Progress as plain lines, for a log file: one when a table begins, and one every few seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._printed = 0.0

    def begin(self, table: str, total: int, done: int) -> None:
        self._total[table], self._done[table] = total, done
        self._print(table)

    def advance(self, table: str, rows: int) -> None:
        before = self._done[table]
        self._done[table] += rows
        if before < self._total[table] <= self._done[table] or monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._print(table)

    def notice(self, message: str) -> None:
        errors().print(plain(message), markup=False)

    def _print(self, table: str) -> None:
        self._printed = monotonic()
        done = self._done[table]
        total = max(done, self._total[table])  # which may have been estimated, or have grown
        errors().print(plain(f"{self._what} {table}: {done:,} of {total:,} rows"), markup=False)


class _SalonLines(_Lines):
    """Progress through many salons, with the time that is left."""

    def begin(self, table: str, total: int, done: int) -> None:
        self._began = monotonic()
        super().begin(table, total, done)

    def _print(self, table: str) -> None:
        self._printed = monotonic()
        done, total = self._done[table], self._total[table]
        left = (
            f", about {(self._printed - self._began) / done * (total - done):,.0f} s left" if 0 < done < total else ""
        )
        errors().print(plain(f"{self._what}: {done:,} of {total:,} salons{left}"), markup=False)


class _Bars:
    """Progress as live bars, one a table."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def begin(self, table: str, total: int, done: int) -> None:
        self._tasks[table] = self._bars.add_task(plain(table), total=total, completed=done)

    def advance(self, table: str, rows: int) -> None:
        self._bars.advance(self._tasks[table], rows)

    def notice(self, message: str) -> None:
        self._bars.console.print(plain(message), markup=False)


@contextmanager
def progress(what: str, *, of_salons: bool = False) -> Iterator[ProgressProtocol]:
    """Live bars on a terminal, plain lines elsewhere; both on standard error."""
    if not errors().is_terminal:
        yield _SalonLines(what) if of_salons else _Lines(what)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors(), transient=True) as bars:
        yield _Bars(bars)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[int] = ()) -> None:
    """Print a table; `numbers` are the columns that are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    to = console()
    to.width = max(_WIDTH, to.measure(table, options=to.options.update(max_width=_WIDEST)).maximum)
    with to.capture() as printed:
        to.print(table)
    to.file.write(_BLANKS_AT_THE_END.sub(r"\1", printed.get()))


def say(text: str = "") -> None:
    """Print one line to standard output."""
    console().print(plain(text), markup=False)


def plain(text: str) -> str:
    """Text from a database made harmless for a terminal: control characters are shown, not sent."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def keep_output_for_document() -> None:
    """With `--json`, words go to standard error, whoever says them."""
    console().stderr = True


def complain(text: str) -> None:
    """Print lines to standard error."""
    for line in text.splitlines():
        errors().print(plain(line), markup=False)
