"""How rows are verified: what was asked for, and what the comparisons of one verify share."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.migration.load.table_authority import Permit
from app.migration.runs.beside_stream import BesideStream
from app.migration.sources.source import Progress, Source


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        fix: copy rows that are missing or different again.
        sample: compare only so many rows of a table, picked at random; None: all.
        overwrite: fix although the target is the bot's store already.
        target_in_use: the flag says that the bot reads and writes PostgreSQL.
        most_refused: rows that the target refuses in a fix, past which it stops.
        pause: seconds before a row that seems to differ is read once more.
        most_differences: differences of a table that the report keeps; all are counted.
    """

    fix: bool = False
    sample: int | None = None
    overwrite: bool = False
    target_in_use: bool = False
    most_refused: int = 1000
    pause: float = 1.0
    most_differences: int = 10_000

    @property
    def step(self) -> str:
        """The step's name, for messages."""
        return "verify --fix" if self.fix else "verify"

    @property
    def permit(self) -> Permit:
        """Under what conditions a fix may write."""
        return Permit(
            step="verify --fix",
            would="to copy rows again would overwrite what the bot has written since",
            in_use=self.target_in_use,
            overwrite=self.overwrite,
            instead="verify",
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """A verify at work.

    Attributes:
        connection: to the target.
        run: the id of a fix's run; None: nothing is written.
        stream: the change stream that brings rows of the source over meanwhile, if one does.
    """

    connection: AsyncConnection
    source: Source
    progress: Progress
    options: VerifyOptions
    run: int | None
    stream: BesideStream | None
