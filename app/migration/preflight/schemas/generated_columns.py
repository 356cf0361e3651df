"""Columns that one side makes by itself: which a copy asks the source for, and what is worth knowing of them."""

from collections.abc import Sequence

from sqlalchemy import Column, Table

from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.tables.copy_table import name_of


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
