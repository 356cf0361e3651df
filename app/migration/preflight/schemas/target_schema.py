"""The target's tables against a MetaData: every difference of every table, and where that leaves the target."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from app.migration.preflight.findings import CODES, Finding, SchemaDifference, Severity, finding
from app.migration.preflight.schemas.catalog import CatalogColumn, CatalogTable
from app.migration.preflight.schemas.type_passages import as_reflected, model_type, passage
from app.migration.tables.copy_table import name_of
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value

_SCHEMA = re.compile(r" ON \w+\.")


def compare(tables: Sequence[Table], found: dict[str, CatalogTable], *, strict: bool) -> list[SchemaDifference]:
    """What differs between the models and the target.

    Args:
        strict: the models describe the schema in full: defaults, constraints and indexes too. Otherwise only the
            tables, columns and types, and those types only as far as they would change values.
    """
    differences: list[SchemaDifference] = []
    for table in tables:
        there = found.get(name_of(table))
        if there is None or there.kind not in "rp":
            is_there = None if there is None else "no table"
            differences.append(_differs(table, "table", is_there, "a table", "target-table-missing"))
            continue
        differences += _columns(table, there, strict=strict)
        if strict:
            differences += _constraints(table, there)
            differences += _indexes(table, there)
    return differences


def as_findings(differences: Iterable[SchemaDifference], remedy: str) -> list[Finding]:
    """A finding for each difference."""
    return [
        finding(
            one.code,
            _sentence(one),
            remedy,
            table=one.table,
            column=one.item.removeprefix("column ") if one.item.startswith("column ") else None,
            found=one.found,
            expected=one.expected,
            severity=one.severity,
        )
        for one in differences
    ]


def _differs(
    table: Table, item: str, found: str | None, expected: str | None, code: str, severity: Severity | None = None
) -> SchemaDifference:
    """A difference, of its code's usual severity unless told."""
    return SchemaDifference(name_of(table), item, found, expected, code, severity or CODES[code].severity)


def _sentence(one: SchemaDifference) -> str:
    where = one.table if one.item == "table" else f"{one.table}: {one.item}"
    if one.found is None:
        return f"{where} is missing in the target"
    if one.expected is None:
        return f"{where} of the target is not in the models"
    return f"{where} of the target is not as the models say"


def _columns(table: Table, there: CatalogTable, *, strict: bool) -> list[SchemaDifference]:
    differences: list[SchemaDifference] = []
    for column in table.columns:
        expected = model_type(column)
        present = there.columns.get(column.name)
        item = f"column {column.name}"
        if present is None:
            differences.append(_differs(table, item, None, expected or "a column", "target-column-missing"))
            continue
        like = {present.type} if strict else {present.type, as_reflected(present.type)}
        if expected is not None and expected not in like and (strict or passage(present.type, expected) != "same"):
            milder: Severity | None = None if strict else "notice"
            differences.append(_differs(table, item, present.type, expected, "target-type-differs", milder))
        if strict:
            differences += _column_details(table, column, present)
    for name, present in there.columns.items():
        if name not in table.columns:
            blocks = present.not_null and present.default is None and not present.identity and not present.generated
            shown = present.type + (" NOT NULL" if present.not_null else "")
            if strict or blocks:
                severity: Severity | None = "error" if blocks else None
                differences.append(_differs(table, f"column {name}", shown, None, "target-column-extra", severity))
    return differences


def _column_details(table: Table, column: Column[object], present: CatalogColumn) -> list[SchemaDifference]:
    differences: list[SchemaDifference] = []
    item = f"column {column.name}"
    if present.not_null == bool(column.nullable):
        words = {True: "NOT NULL", False: "NULL allowed"}
        severity: Severity | None = None if present.not_null else "warning"
        is_now, should_be = words[present.not_null], words[not column.nullable]
        differences.append(_differs(table, item, is_now, should_be, "target-nullability-differs", severity))
    expected, found = _expected_default(table, column), present.default
    if _plain(found) != _plain(expected):
        differences.append(_differs(table, item, _default(found), _default(expected), "target-default-differs"))
    return differences


def _default(text: str | None) -> str:
    return f"DEFAULT {text}" if text is not None else "no default"


def _expected_default(table: Table, column: Column[object]) -> str | None:
    if column.server_default is None:
        serial = table.autoincrement_column is column and column.identity is None
        return "nextval" if serial else None
    return str(getattr(column.server_default, "arg", "")) or None


def _plain(default: str | None) -> str | None:
    """A default without what PostgreSQL adds when it prints it."""
    if default is None:
        return None
    if default.startswith("nextval"):
        return "nextval"
    return re.sub(r"::[a-z ]+(\(\d+\))?", "", default).strip("()' ").lower()


def _constraints(table: Table, there: CatalogTable) -> list[SchemaDifference]:
    differences: list[SchemaDifference] = []
    expected = {
        ("p" if isinstance(one, PrimaryKeyConstraint) else "u", tuple(one.columns.keys())): one
        for one in table.constraints
        if isinstance(one, PrimaryKeyConstraint | UniqueConstraint) and len(one.columns)
    }
    present = {(one.kind, one.columns): one for one in there.constraints}
    for kind, columns in expected.keys() - present.keys():
        words = f"{'PRIMARY KEY' if kind == 'p' else 'UNIQUE'} ({', '.join(columns)})"
        name = str(expected[kind, columns].name or words)
        differences.append(_differs(table, f"constraint {name}", None, words, "target-constraint-missing"))
    for kind, columns in present.keys() - expected.keys():
        if kind == "f":  # reported with what would interfere
            continue
        one = present[kind, columns]
        differences.append(_differs(table, f"constraint {one.name}", one.definition, None, "target-constraint-extra"))
    return sorted(differences, key=lambda one: one.item)


def _indexes(table: Table, there: CatalogTable) -> list[SchemaDifference]:
    differences: list[SchemaDifference] = []
    present = {one.name: one for one in there.indexes}
    expected = {str(index.name): _index(index) for index in table.indexes}
    for name, definition in sorted(expected.items()):
        one = present.get(name)
        if one is None:
            differences.append(_differs(table, f"index {name}", None, definition, "target-index-missing"))
        elif _plain_index(one.definition) != _plain_index(definition) or not one.valid:
            shown = one.definition if one.valid else f"INVALID: {one.definition}"
            differences.append(_differs(table, f"index {name}", shown, definition, "target-index-differs"))
    for name, one in present.items():
        if name not in expected:
            code = "target-constraint-extra" if " UNIQUE " in one.definition else "target-index-extra"
            differences.append(_differs(table, f"index {name}", one.definition, None, code))
    return differences


def _index(index: Index) -> str:
    return " ".join(str(CreateIndex(index).compile(dialect=postgresql.dialect())).split())  # type: ignore[no-untyped-call]


def _plain_index(definition: str) -> str:
    """A definition without the words that PostgreSQL adds when it prints it."""
    text = _SCHEMA.sub(" ON ", definition.replace(" USING btree", "").replace('"', ""))
    head, where, condition = text.partition(" WHERE ")
    return f"{head}{where}{condition.strip().removeprefix('(').removesuffix(')')}"


@dataclass(frozen=True, slots=True)
class TargetState:
    """Where the target's schema stands.

    Attributes:
        usable: its tables can take the rows.
        next_step: what to run next where nothing else is in the way; None: the caller's own.
    """

    findings: list[Finding] = field(default_factory=list)
    differences: list[SchemaDifference] = field(default_factory=list)
    usable: bool = True
    creates_tables: bool = False
    next_step: NextStep | None = None


Examine = Callable[[AsyncConnection, dict[str, CatalogTable]], Awaitable[TargetState]]


def examine_against(tables: Sequence[Table], revisions: Sequence[str] = (), *, upgrades: bool = False) -> Examine:
    """The target of another project's tables: it is to have them, with columns of these names and types.

    Args:
        revisions: those of the project, the newest first.
        upgrades: the step upgrades the schema itself, so that a schema that is not there yet does not stop it.
    """

    async def examine(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> TargetState:
        revision = await revision_of(connection, catalog)
        held = [name_of(table) for table in tables if name_of(table) in catalog]
        if revisions and revision is None and held:
            message = f"the target holds tables that no revision made: {', '.join(held)}"
            remedy = "have DATABASE_URL name an empty database, or drop them there, if that is what it should name"
            return TargetState([finding("target-incompatible", message, remedy)], usable=False)
        if revisions and revision not in (None, *revisions):
            return ahead(revision, revisions[0], "the project's own", "take the revisions from where it was upgraded")
        if revisions and revision != revisions[0]:
            return not_there(revision, revisions[0], upgrades=upgrades)
        differences = compare(tables, catalog, strict=False)
        found = as_findings(differences, "make the target's tables as the models describe them")
        return TargetState(found, differences, usable=all(one.severity != "error" for one in differences))

    return examine


def ahead(revision: str | None, newest: str, whose: str, remedy: str) -> TargetState:
    """The state of a target at a revision that is not known here."""
    message = f"the target is at revision {revision}, which is not known here; {whose} newest is {newest}"
    return TargetState([finding("target-ahead", message, remedy)], usable=False, next_step=NextStep(remedy))


async def revision_of(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> str | None:
    """The revision that a database says it is at."""
    if "alembic_version" not in catalog:
        return None
    revision: str | None = await fetch_value(connection, "SELECT version_num FROM <data schema>.alembic_version")
    return revision


def not_there(revision: str | None, newest: str, *, upgrades: bool) -> TargetState:
    """The state of a target that an upgrade makes fit; `upgrades`: the step upgrades it itself."""
    code, message, remedy = (
        ("target-empty", "the target does not hold the tables yet", "botdata upgrade makes them")
        if revision is None
        else ("target-behind", f"the target is at revision {revision}, and {newest} is the newest", "botdata upgrade")
    )
    return TargetState(
        [finding(code, message, remedy, severity="notice" if upgrades else "error")],
        usable=False,
        creates_tables=True,
        next_step=NextStep(Command("migrate" if upgrades else "upgrade")),
    )
