"""The protocol by which a long step tells how far it has come."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a step is; the command line draws it."""

    def begin(self, table: str, total: int, done: int) -> None:
        """A table begins (or goes on): rows in all, rows already done."""

    def advance(self, table: str, rows: int) -> None:
        """More rows are done."""

    def notice(self, message: str) -> None:
        """Something worth a line: a retry, a run that goes on."""
