"""Progress of commands on standard error: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from app.cli.render import errors, plain

if TYPE_CHECKING:  # what is heavy is imported where it is used: the help is to be there at once
    from rich.progress import Progress, TaskID

    from app.migration.sources.source import Progress as ProgressProtocol

_SECONDS_BETWEEN_LINES = 5.0


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


class Notices:
    """Progress of one among many: only what is worth a line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def begin(self, table: str, total: int, done: int) -> None:
        """Not told."""

    def advance(self, table: str, rows: int) -> None:
        """Not told."""

    def notice(self, message: str) -> None:
        """Told."""
        self._tell(message)


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
