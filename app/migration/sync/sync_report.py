"""What a sync reports: of each table, of a round, and of a whole start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.migration.runs.report import Refusal
from app.migration.sources.moved_tables import NotMoved
from app.migration.target.leftovers import BrokenForeignKey, Unusable


@dataclass(slots=True)
class TableSynced:
    """One table's part of a round, or of all rounds of a start. Row counts.

    Attributes:
        inserted, updated, deleted: what was done to the side that is brought up to date (or, in a dry run, would be).
        kept: rows written over although they had changed later, and deleted rows that the other side never had so:
            their old images are in `botdata.replaced_rows`.
        keys_only: these images hold the keys alone.
        spared: rows that were to be deleted, and that were there after all when they were asked for again.
        unsettled: rows written that still do not have the same text on both sides, and rows deleted that are still
            there, since a trigger or a rule keeps them.
        refused: the rows that are refused now.
        left: rows in quarantine that a reverse sync leaves in the source, since the target refused them.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    kept: int = 0
    spared: int = 0
    unsettled: int = 0
    refused: tuple[Refusal, ...] = ()
    left: int = 0
    keys_only: bool = False

    @property
    def changed(self) -> int:
        """Rows inserted, updated and deleted."""
        return self.inserted + self.updated + self.deleted

    def add(self, later: TableSynced) -> None:
        """Add what a later round did; what remains is what remains after that."""
        self.inserted += later.inserted
        self.updated += later.updated
        self.deleted += later.deleted
        self.kept += later.kept
        self.spared += later.spared
        self.unsettled = later.unsettled
        self.refused = later.refused
        self.left = later.left
        self.keys_only = later.keys_only


@dataclass(frozen=True, slots=True)
class SyncRound:
    """One round.

    Attributes:
        number: from 1.
        lag: seconds from the beginning of its first reading to its end: how old the state is that it brought.
    """

    number: int
    tables: tuple[TableSynced, ...]
    lag: float

    @property
    def written(self) -> int:
        """Rows inserted and updated."""
        return sum(table.inserted + table.updated for table in self.tables)

    @property
    def deleted(self) -> int:
        """Rows deleted."""
        return sum(table.deleted for table in self.tables)

    @property
    def refused(self) -> int:
        """Rows that are refused now."""
        return sum(len(table.refused) for table in self.tables)

    @property
    def unsettled(self) -> int:
        """Rows that still do not have the same text on both sides."""
        return sum(table.unsettled for table in self.tables)

    @property
    def quiet(self) -> bool:
        """Whether it found nothing to do."""
        return not any(table.changed for table in self.tables)

    def repeats(self, before: SyncRound | None) -> bool:
        """Whether it did no more than write the rows again that had stayed different in the round before."""
        return before is not None and not self.deleted and self.written <= self.unsettled == before.unsettled


@dataclass(slots=True)
class SyncReport:
    """A whole start of sync, in rounds.

    Attributes:
        run: the run's id; None for a dry run.
        by_hand: statements to run in the source's SQL editor: what cannot be done over REST.
        interrupted: it was stopped in the middle of a round.
        broken: foreign keys of the target that not all rows keep.
        not_usable: objects of the target that the application cannot use as they are.
        not_seen: sentences about what could not be seen, and so may not be as in the source.
        not_moved: tables that cannot be synced with this source.
        by: how changes are found: by rows' versions or, where it can be, by the change stream.
    """

    run: int | None
    reverse: bool
    dry_run: bool = False
    rounds: int = 0
    tables: dict[str, TableSynced] = field(default_factory=dict)
    lag: float | None = None
    seconds: float = 0.0
    by_hand: Sequence[str] = field(default_factory=list)
    interrupted: bool = False
    broken: Sequence[BrokenForeignKey] = field(default_factory=list)
    not_usable: list[Unusable] = field(default_factory=list)
    not_seen: list[str] = field(default_factory=list)
    not_moved: Sequence[NotMoved] = ()
    by: Literal["xmin", "stream"] = "xmin"

    @property
    def complete(self) -> bool:
        """Whether nothing remains: no row refused, none that stays different, no round cut, and foreign keys are back.

        One that leads out of the tables may be left NOT VALID, as after a copy.
        """
        held_up = any(key.holds_up for key in self.broken)
        return not (held_up or self.interrupted or self.not_moved) and not any(
            table.refused or table.unsettled or table.left for table in self.tables.values()
        )

    def add(self, done: SyncRound) -> None:
        """Add a round."""
        self.rounds += 1
        self.lag = done.lag
        for table in done.tables:
            self.tables.setdefault(table.table, TableSynced(table.table)).add(table)
