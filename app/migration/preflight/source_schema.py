"""What a source holds, against the models: tables, columns and types, whichever way they could be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Table

from app.migration.preflight.catalog import CatalogTable
from app.migration.preflight.findings import Finding, finding, quoted
from app.migration.preflight.target_schema import type_findings
from app.migration.tables import name_of


@dataclass(slots=True)
class SourceTable:
    """A table of the source as far as it was seen.

    Attributes:
        columns: types by name; None where the type is not known. Generated columns are not among them.
        missing: columns of the models that it has not.
        complete: whether `columns` are all there are.
        rows: exact count, where it was counted.
        primary_key: the columns of the source's own, where they were seen without a look at its catalog.
    """

    name: str
    columns: dict[str, str | None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    complete: bool = True
    rows: int | None = None
    primary_key: set[str] = field(default_factory=set)


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


def wanted_columns(table: Table) -> list[str]:
    """The columns that a copy asks for: all but generated ones."""
    return [column.name for column in table.columns if column.computed is None]


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
        findings += _missing(there)
        findings += _unknown(there, table, ignored)
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


def _missing(there: SourceTable) -> list[Finding]:
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
    ]


def _unknown(there: SourceTable, table: Table, ignored: set[str]) -> list[Finding]:
    known = set(table.columns.keys())
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
