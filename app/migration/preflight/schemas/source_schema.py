"""What a source holds, against the models: tables, columns and types, whichever way they could be seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Table

from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.passages import generated_findings, is_copied, type_findings
from app.migration.preflight.schemas.type_passages import UserType
from app.migration.tables.copy_table import name_of, quoted
from app.migration.tables.grants import grant_select


@dataclass(slots=True)
class SourceTable:
    """A table of the source as far as it was seen.

    Attributes:
        columns: types by name; None where the type is not known.
        generated: names of those that the source makes by itself, as far as it shows them.
        missing: columns of the models that it has not.
        complete: whether `columns` are all there are.
        in_part: `columns` are not all, since the role may read some only.
        rows: exact count, where it was counted.
        uncounted: it could be read, and a count took too long.
        denied: columns of the models that may not be read.
        user_types: what is known of types that are not PostgreSQL's own, by column.
        primary_key: the columns of the source's own, where they were seen without a look at its catalog.
        own: a prefix of the name after FROM that leaves out the rows of tables that inherit, where SQL is spoken.
    """

    name: str
    columns: dict[str, str | None] = field(default_factory=dict)
    generated: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    complete: bool = True
    in_part: bool = False
    rows: int | None = None
    uncounted: bool = False
    denied: list[str] = field(default_factory=list)
    user_types: dict[str, UserType] = field(default_factory=dict)
    primary_key: set[str] = field(default_factory=set)
    own: str = ""


@dataclass(slots=True)
class SourceSeen:
    """What was seen of a source.

    Attributes:
        tables: those of the models that are there.
        others: names of tables that the models do not have.
        arguments_known: whether types have their lengths and scales.
        unjudged: names of tables that could not be looked at; a finding says why.
        role: the role that reads.
        findings: what looking itself brought: unreachable, hidden rows, and so on.
    """

    tables: dict[str, SourceTable] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    arguments_known: bool = True
    reached: bool = True
    unjudged: set[str] = field(default_factory=set)
    role: str = ""
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
        if there is None and name_of(table) in seen.unjudged:
            continue
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
            there.columns,
            table,
            target.get(name_of(table)),
            arguments_known=seen.arguments_known,
            user_types=there.user_types,
        )
    findings += [
        finding(
            "source-columns-unseen",
            f"the source's role may read some columns of {there.name} only, so that columns which the models lack, and "
            "whose data would be lost, could not be seen",
            grant_select(table.schema or "public", table.name, seen.role),
            table=there.name,
            severity="warning",
        )
        for table in tables
        if (there := seen.tables.get(name_of(table))) and there.in_part
    ]
    if empty := [there.name for there in seen.tables.values() if not there.complete and not there.in_part]:
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
    stays = set(table.info.get("left_out", ()))
    return [
        finding(
            "source-column-unknown",
            f"{there.name}.{name} stays at the source, as the models say",
            "nothing",
            table=there.name,
            column=name,
            found=kind or "a column",
            severity="notice",
        )
        if name in stays
        else finding(
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
