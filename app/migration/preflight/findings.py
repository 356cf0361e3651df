"""What preflight reports: findings with stable codes, and what the owner may say about them beforehand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from app.next_step import Command, NextStep

Severity = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding.

    Attributes:
        severity: the usual one; a finding may be less severe where that is known.
        acceptable: `--accept` can turn the error into a warning; not where the move would stop a moment later.
        by_name: each is to be accepted with its table and its own name.
    """

    severity: Severity
    acceptable: bool = True
    by_name: bool = False


# Documented in docs/preflight.md; a code never changes its meaning.
CODES: dict[str, Code] = {
    "source-unreachable": Code("error", acceptable=False),
    "source-key-role": Code("error", acceptable=False),
    "source-privilege-missing": Code("error", acceptable=False),
    "source-rows-hidden": Code("error"),
    "source-schema-not-exposed": Code("error", acceptable=False),
    "source-table-missing": Code("error", acceptable=False),
    "source-column-missing": Code("error", acceptable=False),
    "source-column-unknown": Code("error"),
    "source-columns-unseen": Code("notice"),
    "source-type-differs": Code("error"),
    "source-types-unseen": Code("notice"),
    "source-table-not-copied": Code("notice"),
    "source-duplicates": Code("error"),
    "source-duplicates-unchecked": Code("notice"),
    "source-row-cap": Code("notice"),
    "source-count-unknown": Code("notice"),
    "source-key-unusable": Code("error", acceptable=False),
    "source-version": Code("error"),
    "source-collation-version": Code("warning"),
    "source-settings-differ": Code("error", acceptable=False),
    "source-settings-unseen": Code("notice"),
    "source-stream-standby": Code("error", acceptable=False),
    "source-stream-wal-level": Code("error", acceptable=False),
    "source-stream-role": Code("error", acceptable=False),
    "source-stream-slots": Code("error", acceptable=False),
    "source-stream-wal-unbounded": Code("error"),
    "source-stream-publication": Code("error", acceptable=False),
    "target-stream-wal-level": Code("warning"),
    "target-collation-version": Code("warning"),
    "source-tls-off": Code("warning"),
    "target-is-source": Code("error", acceptable=False),
    "target-unreachable": Code("error", acceptable=False),
    "target-moved-out": Code("error", acceptable=False),
    "target-empty": Code("notice"),
    "target-behind": Code("error", acceptable=False),
    "target-ahead": Code("error", acceptable=False),
    "target-phase08": Code("error", acceptable=False),
    "target-incompatible": Code("error", acceptable=False),
    "target-distributed": Code("error", acceptable=False),
    "target-table-missing": Code("error", acceptable=False),
    "target-column-missing": Code("error", acceptable=False),
    "target-column-extra": Code("warning"),
    "target-column-generated": Code("notice"),
    "target-column-plain": Code("warning"),
    "target-type-differs": Code("error"),
    "target-nullability-differs": Code("error"),
    "target-default-differs": Code("warning"),
    "target-constraint-missing": Code("error"),
    "target-constraint-extra": Code("warning"),
    "target-key-missing": Code("error", acceptable=False),
    "target-without-key": Code("warning"),
    "target-partition": Code("notice"),
    "target-index-missing": Code("warning"),
    "target-index-extra": Code("notice"),
    "target-index-differs": Code("warning"),
    "target-trigger-on-insert": Code("error"),
    "target-trigger-on-update": Code("notice"),
    "target-trigger-on-delete": Code("error"),
    "target-trigger-silent": Code("notice"),
    "target-rule": Code("error", acceptable=False),
    "target-rule-silent": Code("notice"),
    "target-rows-hidden": Code("error", acceptable=False),
    "target-foreign-key": Code("notice"),
    "target-check-not-valid": Code("warning"),
    "target-parent-not-moved": Code("warning"),
    "target-version": Code("error"),
    "target-older": Code("notice"),
    "target-privilege-missing": Code("error", acceptable=False),
    "target-connections-few": Code("error"),
    "target-case-mapping": Code("error"),
    "target-time-zone": Code("notice"),
    "target-tls-off": Code("warning"),
    "target-read-only": Code("error", acceptable=False),
    "app-role-missing": Code("error"),
    "app-role-not-assumed": Code("warning"),
    "app-role-privilege-missing": Code("error"),
    "app-role-rows-hidden": Code("error"),
    "app-role-rows-unknown": Code("warning"),
    "app-role-writes-refused": Code("warning"),
    "source-trigger": Code("error", by_name=True),
    "source-rule": Code("error", by_name=True),
    "source-event-trigger": Code("error", by_name=True),
    "source-triggers-unseen": Code("error"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        code: one of CODES.
        message: one sentence: what is.
        remedy: one sentence or command: what to do.
        found, expected: what is and what should be, where two schemas differ.
        name: of a trigger or a rule.
    """

    code: str
    severity: Severity
    message: str
    remedy: str
    table: str | None = None
    column: str | None = None
    found: str | None = None
    expected: str | None = None
    name: str | None = None

    @property
    def place(self) -> str:
        """`table.column`, `table`, or nothing."""
        return ".".join(part for part in (self.table, self.column) if part)

    @property
    def accepted_as(self) -> str:
        """What `--accept` takes for this one alone."""
        place = ".".join(part for part in (self.table, self.column or self.name) if part)
        return f"{self.code}:{place}" if place else self.code


def finding(
    code: str,
    message: str,
    remedy: str,
    *,
    table: str | None = None,
    column: str | None = None,
    found: str | None = None,
    expected: str | None = None,
    name: str | None = None,
    severity: Severity | None = None,
) -> Finding:
    """A finding, of its code's usual severity unless told."""
    return Finding(code, severity or CODES[code].severity, message, remedy, table, column, found, expected, name)


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """One item of the target's schema that is not as it should be.

    Attributes:
        item: such as "column title" or "index idx_clients_phone".
        found, expected: what is and what should be; None: nothing.
        code, severity: of the finding that it is.
    """

    table: str
    item: str
    found: str | None
    expected: str | None
    code: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class TableSeen:
    """Exact row counts of a table; None where they could not be had."""

    table: str
    source_rows: int | None
    target_rows: int | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the owner said beforehand.

    Attributes:
        codes: of errors that are to be warnings, as CODE, CODE:table, CODE:table.column or CODE:table.trigger.
        ignored_columns: `table.column` of the source whose data may be lost.
    """

    codes: frozenset[str] = frozenset()
    ignored_columns: frozenset[str] = frozenset()

    def apply(self, found: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings with accepted errors turned into warnings, errors first."""
        order = ("error", "warning", "notice")
        settled = [replace(one, severity="warning") if self._accepts(one) else one for one in found]
        return tuple(sorted(settled, key=lambda one: order.index(one.severity)))

    def _accepts(self, one: Finding) -> bool:
        kind = CODES[one.code]
        wanted = {one.accepted_as}
        if not kind.by_name:
            wanted |= {one.code, f"{one.code}:{one.place}", f"{one.code}:{one.table}"}
        return one.severity == "error" and kind.acceptable and not self.codes.isdisjoint(wanted)


def unknown_codes(codes: Sequence[str]) -> list[str]:
    """Those of `--accept` that name no code, or one that cannot be accepted, or not without a name."""
    return [one for one in codes if not _can_accept(*one.partition(":"))]


def _can_accept(code: str, _: str, place: str) -> bool:
    kind = CODES.get(code)
    return kind is not None and kind.acceptable and (bool(place) or not kind.by_name)


@dataclass(frozen=True, slots=True)
class RoleAtTable:
    """What the application's role may do with a table of the target.

    Attributes:
        writes: of INSERT, UPDATE and DELETE those that its rights and the policies let it do, for some rows at least.
        secured: row-level security applies to it there; None: not known, since its place could not be taken.
        seen, rows: of how many rows it sees how many; None where that was not counted.
    """

    table: str
    reads: bool
    writes: tuple[str, ...]
    secured: bool | None = None
    seen: int | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class AppRole:
    """What the application's role may do; `findings` say what it lacks."""

    name: str
    tables: tuple[RoleAtTable, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What was found, errors first.

    Attributes:
        differences: every item of the target's schema that is not as it should be, one table after another.
        app_role: what was asked of the application's role.
        next_step: what to do next.
        seconds: it took.
    """

    findings: tuple[Finding, ...]
    tables: tuple[TableSeen, ...] = ()
    differences: tuple[SchemaDifference, ...] = ()
    app_role: AppRole | None = None
    next_step: NextStep = field(default_factory=lambda: NextStep(Command("migrate")))
    seconds: float = field(default=0.0, compare=False)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a copy."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def clear(self) -> bool:
        """Whether nothing stops a copy."""
        return not self.errors
