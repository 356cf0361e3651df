"""The columns of both ends: those that one side makes by itself, and types that do not keep the source's values."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Column, Table

from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.type_passages import TEXTS, Passage, UserType, is_builtin, model_type, passage
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


def is_copied(column: Column[object], there: CatalogTable | None) -> bool:
    """Whether a copy reads the column from the source.

    Args:
        there: the target's table, which decides; None where it is not there yet, so that the model does.
    """
    present = there.columns.get(column.name) if there else None
    return column.computed is None if present is None else not present.generated


def generated_findings(
    tables: Sequence[Table], target: dict[str, CatalogTable], made_by_source: dict[str, set[str]]
) -> list[Finding]:
    """Columns that the models and the two sides do not make alike.

    Args:
        made_by_source: names of the columns that the source generates, by table, as far as it shows them.
    """
    found = []
    for table in tables:
        name = name_of(table)
        there = target.get(name)
        for column in table.columns if there else ():
            present = there.columns.get(column.name) if there else None
            if present is None:
                continue
            if present.generated and column.computed is None:
                found.append(
                    finding(
                        "target-column-generated",
                        f"the target makes {name}.{column.name} by itself, so that it is not copied, but compared by "
                        "verify",
                        "nothing",
                        table=name,
                        column=column.name,
                    )
                )
            by_source = column.name in made_by_source.get(name, ())
            if (by_source or column.computed is not None) and not present.generated:
                maker = "source makes" if by_source else "models make"
                found.append(
                    finding(
                        "target-column-plain",
                        f"the {maker} {name}.{column.name} from other columns, and the target does not: its values are "
                        "copied, and new rows there are to bring their own",
                        "make it GENERATED in the target, if the application leaves it to the database",
                        table=name,
                        column=column.name,
                    )
                )
    return found
