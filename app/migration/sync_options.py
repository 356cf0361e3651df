"""How to sync, and what is refused before anything is done."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import MigrationError


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
        dry_run: say what would be done.
        most_rounds: rounds that may find something before `until_clean` gives up.
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
    dry_run: bool = False
    most_rounds: int = 30
    most_by_key: int = 5000


def refuse_wrong_direction(options: SyncOptions) -> None:
    """Stop where rows would be written into the store that the flag says the bot writes to.

    Raises:
        MigrationError: says how to go on all the same.
    """
    if options.overwrite or options.dry_run or options.reverse == options.target_in_use:
        return
    if options.reverse:
        message = (
            "USE_REPOSITORY_PATTERN does not say that PostgreSQL is the bot's store; "
            "a reverse sync would overwrite what the bot writes to Supabase"
        )
    else:
        message = (
            "USE_REPOSITORY_PATTERN says that PostgreSQL is the bot's store already; "
            "a sync would overwrite what the bot has written since"
        )
    raise MigrationError(
        message,
        step="sync",
        pending="everything; nothing was written",
        next_command=f"botdata sync{' --reverse' if options.reverse else ''} --overwrite, if that is meant",
    )
