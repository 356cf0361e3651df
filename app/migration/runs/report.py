"""What a copy, a verify and the whole move report, as frozen facts."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.common.keys import Key
from app.migration.sources.moved_tables import NotMoved
from app.migration.tables.copy_table import CopyTable
from app.migration.target.leftovers import BrokenForeignKey, LeftOut, Unusable
from app.next_step import NextStep
from app.privacy import mask_phones


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that the target refused; it is kept in `botdata.quarantine`.

    Attributes:
        key: the primary key as text, masked where it holds a phone number.
        sqlstate: PostgreSQL's code for the reason.
        place: the constraint or column, where PostgreSQL named one.
    """

    table: str
    key: Key
    sqlstate: str
    place: str | None


def refusals_of(table: CopyTable, rows: Iterable[tuple[Key, str, str | None]]) -> tuple[Refusal, ...]:
    """The table's refused rows, their keys masked where they hold phone numbers.

    Args:
        rows: of each its key as it is, SQLSTATE and place.
    """
    return tuple(
        Refusal(table.name, tuple(map(mask_phones, key)) if table.key_holds_phone else key, sqlstate, place)
        for key, sqlstate, place in rows
    )


@dataclass(frozen=True, slots=True)
class TableCopied:
    """One table's part of a copy. Row counts of this run, over all its starts.

    Attributes:
        source_before, source_after: exact counts in the source; before is None where the source could not count, and
            after then comes from a listing of the keys.
        inserted, updated, unchanged: what happened to the rows that came.
        refused: the rows in quarantine.
        came: rows that the pages did not bring, since they came later, and that were fetched by key.
        went: rows of the target that are not in the source, or not any more.
        missing: keys that were in the source before and after and are in the target neither as a row nor refused.
        disagreement: in words, where the source's count, the rows seen and the target's count do not go together.
        differ: rows that are not as the source has them, where the target may have changed them and so all were
            compared: but for those in quarantine.
        done_before: it was complete before the run was stopped, and was not read again.
        seconds: of this start.
    """

    table: str
    source_before: int | None
    source_after: int
    inserted: int
    updated: int
    unchanged: int
    refused: tuple[Refusal, ...]
    came: int
    went: int
    missing: tuple[Key, ...]
    done_before: bool
    seconds: float
    disagreement: str | None = None
    differ: int = 0

    @property
    def copied(self) -> int:
        """Rows that are in the target now because of this run, or were already there and equal."""
        return self.inserted + self.updated + self.unchanged


@dataclass(frozen=True, slots=True)
class CopyReport:
    """A whole copy. `complete` only when nothing is missing or refused, the counts agree and foreign keys are back.

    Attributes:
        sync_due: parts of it were read at another moment than others, so that `botdata sync` is due.
        broken: foreign keys of the target that not all rows keep.
        not_usable: objects of the target that the application cannot use as they are.
        not_seen: sentences about what could not be seen, and so may not be as in the source.
        not_moved: tables that cannot be copied from this source.
    """

    run: int
    resumed: bool
    tables: tuple[TableCopied, ...]
    seconds: float
    sync_due: bool = False
    broken: tuple[BrokenForeignKey, ...] = ()
    not_usable: tuple[Unusable, ...] = ()
    not_seen: tuple[str, ...] = ()
    not_moved: tuple[NotMoved, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the target holds every row of the source and no other, and is otherwise as it was.

        A foreign key that leads out of the tables copied may be left NOT VALID: no copy of these can bring its rows.
        """
        held_up = not self.tables or any(key.holds_up for key in self.broken)
        return not (held_up or self.not_moved) and not any(
            table.refused or table.missing or table.went or table.disagreement or table.differ for table in self.tables
        )


@dataclass(frozen=True, slots=True)
class FoundDifference:
    """One way in which the target is not the source.

    Attributes:
        kind: "missing" (in the source only), "extra" (in the target only) or "different".
        key: the primary key as text, as it is.
        column: for "different", the column; source and target: its two texts, None for NULL.
        refused: the SQLSTATE with which the target refused the row, where it is in quarantine.
        withheld: the two texts are not given, since only keys of the table are shown.
    """

    kind: str
    table: str
    key: Key
    key_holds_phone: bool
    column: str | None = None
    source: str | None = None
    target: str | None = None
    refused: str | None = None
    withheld: bool = False

    def shown_key(self, *, show_values: bool) -> str:
        """The key for people, masked where it holds a phone number unless values are asked for."""
        text = ", ".join(self.key)
        return mask_phones(text) if self.key_holds_phone and not show_values else text


@dataclass(frozen=True, slots=True)
class TableVerified:
    """One table's part of a verification.

    Attributes:
        source_rows, target_rows: rows on either side.
        equal: rows of the source that were compared and are the same in the target.
        missing, extra, different: rows, all of them, also where `differences` was cut.
        quarantined: rows among these that the target refused and that are in quarantine.
        changed: rows that differed at first and did not any more when they were read again.
        fixed: rows that were copied again, and are equal now.
        sampled: of a sample, how many rows were compared; None where all were.
        differences: one for each row or, where rows are different, for each of its columns that differ.
        cut: there are more than `differences` holds.
        counts_agree: the rows that differ explain how many more one side has than the other.
        left_out: columns of either side that were not compared.
    """

    table: str
    source_rows: int
    target_rows: int
    equal: int
    missing: int
    extra: int
    different: int
    quarantined: int
    changed: int
    fixed: int
    sampled: int | None
    differences: tuple[FoundDifference, ...]
    cut: bool
    seconds: float
    counts_agree: bool = True
    left_out: tuple[LeftOut, ...] = ()

    @property
    def rows_that_differ(self) -> int:
        """Rows that are missing, extra or different."""
        return self.missing + self.extra + self.different

    @property
    def clean(self) -> bool:
        """Whether nothing differs, as far as was looked."""
        return not self.rows_that_differ and self.counts_agree


@dataclass(frozen=True, slots=True)
class ViewCompared:
    """A materialized view of the target that is made of the tables.

    Attributes:
        view: its quoted name with its schema.
        source_rows, target_rows: None where they were not counted.
        by: what was compared: "rows" or "count"; None: nothing.
        equal: in what was compared.
        stale: it is not as its tables are now.
        why: why it was not compared, or which side is stale.
    """

    view: str
    source_rows: int | None = None
    target_rows: int | None = None
    by: str | None = None
    equal: bool = False
    stale: bool = False
    why: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A whole verification. `clean` only when there is no difference at all.

    Attributes:
        sample: how many rows of a table were to be compared at most; None: all.
        fix: whether rows that differed were copied again.
        managed: a command had moved the cutover's stage as it began.
        newer: tables of which the target holds the newer rows, or may, as it began.
        instead: what to do where the salon has moved to another server; None: it lives here.
        not_usable: materialized views that are made of the tables, and were never filled or are stale.
        views: materialized views that are made of the tables and hold rows.
        not_moved: tables that cannot be compared with this source.
        unproved: foreign keys of the target that are marked valid, and that no run has proved since it wrote rows which
            PostgreSQL did not check.
        stream_stands: how far the change stream is, in words, where it stood still while rows were to be read again.
    """

    tables: tuple[TableVerified, ...]
    seconds: float
    sample: int | None = None
    fix: bool = False
    managed: bool = False
    newer: frozenset[str] = frozenset()
    instead: NextStep | None = None
    not_usable: tuple[Unusable, ...] = ()
    views: tuple[ViewCompared, ...] = ()
    not_moved: tuple[NotMoved, ...] = ()
    unproved: tuple[str, ...] = ()
    stream_stands: str | None = None

    @property
    def differences(self) -> list[FoundDifference]:
        """Those that are kept, table by table."""
        return [difference for table in self.tables for difference in table.differences]

    @property
    def clean(self) -> bool:
        """Whether something was compared and nothing of it differs, and the application can read it."""
        unfit = not self.tables or self.not_usable or self.not_moved or self.unproved
        return not unfit and all(table.clean for table in self.tables)


@dataclass(slots=True)
class Loaded:
    """What loading one page did; added up over a table."""

    inserted: int = 0
    updated: int = 0
    rows: int = 0
    transactions: set[str] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def unchanged(self) -> int:
        """Rows that the target held already."""
        return self.rows - self.inserted - self.updated - len(self.refused)
