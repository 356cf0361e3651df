"""What a source holds, against the models: tables, columns and types, whichever way they could be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Table

from app.migration.preflight.catalog import CatalogTable
from app.migration.preflight.findings import Finding, finding, quoted
from app.migration.preflight.generated_columns import generated_findings, is_copied
from app.migration.preflight.target_schema import type_findings
from app.migration.tables import name_of


@dataclass(slots=True)
class SourceTable:
    """A table of the source as far as it was seen.

    Attributes:
        columns: types by name; None where the type is not known.
        generated: names of those that the source makes by itself, as far as it shows them.
        missing: columns of the models that it has not.
        complete: whether `columns` are all there are.
        rows: exact count, where it was counted.
        unique: whether the source keeps the natural key unique by itself.
    """

    name: str
    columns: dict[str, str | None] = field(default_factory=dict)
    generated: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    complete: bool = True
    rows: int | None = None
    unique: bool = False


@dataclass(slots=True)
class SourceSeen:
    """What was seen of a source.

    Attributes:
        tables: those of the models that are there.
        others: names of tables that the models do not have.
        arguments_known: whether types have their lengths and scales.
        findings: what looking itself brought: unreachable, hidden rows, and so on.
    """

    tables: dict[str, SourceTable] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    arguments_known: bool = True
    reached: bool = True
    findings: list[Finding] = field(default_factory=list)


def schema_findings(
    seen: SourceSeen,
    tables: Sequence[Table],
    target: dict[str, CatalogTable],
    *,
    ignored: Iterable[str],
) -> list[Finding]:
    """Missing tables and columns, other types, and columns and tables that would be left behind."""
    findings: list[Finding] = []
    ignored = set(ignored)
    for table in tables:
        there = seen.tables.get(name_of(table))
        if there is None:
            findings.append(
                finding(
                    "source-table-missing",
                    f"the source has no table {name_of(table)}",
                    "make it there, or leave it out: --tables",
                    table=name_of(table),
                    expected="a table",
                )
            )
            continue
        findings += _missing(there, table, target.get(name_of(table)))
        findings += _unknown(there, table, target.get(name_of(table)), ignored)
        findings += type_findings(
            there.columns, table, target.get(name_of(table)), arguments_known=seen.arguments_known
        )
    if empty := [there.name for there in seen.tables.values() if not there.complete]:
        findings.append(
            finding(
                "source-columns-unseen",
                f"empty in the source, so that columns which the models lack could not be seen: {', '.join(empty)}",
                "nothing: there is no data to lose",
            )
        )
    findings += generated_findings(tables, target, {one.name: one.generated for one in seen.tables.values()})
    findings += [
        finding(
            "source-table-not-copied",
            f"table {name} of the source is not copied",
            "nothing, if its rows are not needed",
            table=name,
        )
        for name in sorted(seen.others)
    ]
    return findings


def _missing(there: SourceTable, table: Table, target: CatalogTable | None) -> list[Finding]:
    return [
        finding(
            "source-column-missing",
            f"the source's table {there.name} has no column {name}",
            f"add it there: ALTER TABLE {quoted(there.name)} ADD {quoted(name)} ...",
            table=there.name,
            column=name,
            expected="a column",
        )
        for name in there.missing
        if is_copied(table.columns[name], target)
    ]


def _unknown(there: SourceTable, table: Table, target: CatalogTable | None, ignored: set[str]) -> list[Finding]:
    """Columns that the models lack; one that the source makes is lost only where the target has it and makes it not."""
    plain = {column.name for column in target.columns.values() if not column.generated} if target else set()
    known = set(table.columns.keys()) | (there.generated - plain)
    return [
        finding(
            "source-column-unknown",
            f"the models have no column {there.name}.{name}, so its data would be lost",
            f"if it is not needed: --ignore-column {there.name}.{name}",
            table=there.name,
            column=name,
            found=kind or "a column",
            severity="warning" if f"{there.name}.{name}" in ignored else "error",
        )
        for name, kind in there.columns.items()
        if name not in known
    ]
