"""The source's types against those that take the values: a finding for each column that does not keep them."""

from collections.abc import Mapping

from sqlalchemy import Table

from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.generated_columns import is_copied
from app.migration.preflight.schemas.type_passages import TEXTS, Passage, is_builtin, model_type, passage
from app.migration.preflight.schemas.user_types import UserType
from app.migration.tables.copy_table import name_of

_MILDEST: tuple[Passage, ...] = ("same", "refused", "changed")


def type_findings(
    source: Mapping[str, str | None],
    table: Table,
    there: CatalogTable | None,
    *,
    arguments_known: bool,
    user_types: Mapping[str, UserType],
) -> list[Finding]:
    """The source's types against those that will take the values: the target's where its table has the column.

    Args:
        source: types by column; None where one is not known.
        arguments_known: False where they came without lengths and scales, and a domain as the type under it.
        user_types: what is known of the source's types that are not PostgreSQL's own, by column.
    """
    findings = []
    for column in table.columns:
        theirs = source.get(column.name)
        if theirs is None or not is_copied(column, there):
            continue
        present = there.columns.get(column.name) if there else None
        kept = present if present and not present.generated else None
        ours = kept.type if kept else model_type(column)
        if ours is None or (not kept and not arguments_known and is_builtin(theirs) and not is_builtin(ours)):
            continue  # over REST a domain comes as what it is made of, and before an upgrade nothing tells what ours is
        of_source, of_target = user_types.get(column.name, UserType()), (kept and kept.user_type) or UserType()
        kind = _between(theirs, ours, of_source, of_target, arguments_known=arguments_known)
        place = f"{name_of(table)}.{column.name}"
        if kind != "same":
            if theirs == ours and of_source.base and of_target.base:  # domains of one name
                theirs, ours = f"{theirs} ({of_source.base})", f"{ours} ({of_target.base})"
            findings.append(_finding(place, table, column.name, theirs, ours, changed=kind == "changed"))
        elif of_target.labels and (lacking := [one for one in of_source.labels if one not in of_target.labels]):
            findings.append(
                finding(
                    "source-type-differs",
                    f"{place}: the target's {ours} lacks {', '.join(map(repr, lacking))}, which the source's has: rows "
                    "with it are refused",
                    f"ALTER TYPE {ours.removesuffix('[]')} ADD VALUE ... at the target; what is refused is kept in "
                    "quarantine: botdata quarantine list",
                    table=name_of(table),
                    column=column.name,
                    found=", ".join(of_source.labels),
                    expected=", ".join(of_target.labels),
                    severity="warning",
                )
            )
    return findings


def _between(theirs: str, ours: str, of_source: UserType, of_target: UserType, *, arguments_known: bool) -> Passage:
    """What becomes of values, under the domains too; a domain of the target, and an enum, may refuse them."""
    kind = passage(theirs, ours, arguments_known=arguments_known, any_schema=of_target.of_extension)
    if kind == "same":
        if of_source.base is None or of_target.base is None:
            return kind
        return passage(of_source.base, of_target.base, arguments_known=arguments_known)
    below, under = of_source.base or theirs, of_target.base or ours
    if of_target.labels and below.partition("(")[0] in TEXTS:
        return "refused"
    if (below, under) == (theirs, ours):
        return kind
    deeper = passage(below, under, arguments_known=arguments_known)
    if deeper == "same" and under != ours and arguments_known:
        deeper = "refused"
    return min(kind, deeper, key=_MILDEST.index)


def _finding(place: str, table: Table, column: str, theirs: str, ours: str, *, changed: bool) -> Finding:
    return finding(
        "source-type-differs",
        f"{place} is {theirs} in the source and {ours} in the target: "
        + ("PostgreSQL may change values on the way" if changed else "a value that does not fit is refused"),
        f"change the column's type on one side, or: --accept source-type-differs:{place}"
        if changed
        else "what is refused is kept in quarantine: botdata quarantine list",
        table=name_of(table),
        column=column,
        found=theirs,
        expected=ours,
        severity="error" if changed else "warning",
    )
