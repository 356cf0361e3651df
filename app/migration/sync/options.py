"""How rows are synced: what was asked for."""

from dataclasses import dataclass

from app.cutover.stages import Store
from app.migration.load.table_authority import Permit


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How to sync.

    Attributes:
        reverse: from the target (PostgreSQL) to the source (Supabase).
        follow: repeat until stopped.
        until_clean: repeat until two rounds in a row find nothing.
        interval: seconds between rounds.
        most_deleted: rows that one round may delete.
        most_refused: refused rows past which it stops.
        overwrite: go on although the flag, or rows that are not ours, speak against it.
        target_in_use: the flag says that the bot reads and writes PostgreSQL.
        named: the tables were named, so that one which may not be written stops it, and is not left out.
        settles_after: seconds after which a write of unknown outcome no longer lands at the source.
        dry_run: say what would be done.
        most_rounds: rounds that may find something before `until_clean` gives up.
        whole_interval: seconds between looks of a following sync at a table without a key, which is read as a whole.
        most_by_key: rows that are asked for by key; where more have changed, all pages are read.
    """

    reverse: bool = False
    follow: bool = False
    until_clean: bool = False
    interval: float = 2.0
    most_deleted: int = 100
    most_refused: int = 1000
    overwrite: bool = False
    target_in_use: bool = False
    named: bool = False
    settles_after: float = 60.0
    dry_run: bool = False
    most_rounds: int = 30
    whole_interval: float = 60.0
    most_by_key: int = 5000

    @property
    def is_repeated(self) -> bool:
        """Whether rounds go on until there is nothing left to find, so that each is looked at by the next."""
        return self.follow or self.until_clean

    @property
    def permit(self) -> Permit:
        """Under what conditions rows may be written."""
        if self.reverse:
            return Permit(
                step="sync",
                would="a reverse sync would overwrite what the bot writes to Supabase",
                into=Store.SUPABASE,
                in_use=not self.target_in_use,
                overwrite=self.overwrite,
            )
        return Permit(
            step="sync",
            would="a sync would overwrite what the bot has written since",
            in_use=self.target_in_use,
            overwrite=self.overwrite,
        )
