"""Which tables of the models are moved, and in what order: parents before children."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ForeignKeyConstraint, MetaData, Table
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.schema import sort_tables_and_constraints

from app.errors import MigrationError
from app.migration.tables.copy_table import name_of
from app.next_step import NextStep


def select_tables(
    metadata: MetaData, *, names: Sequence[str] | None = None, groups: Iterable[str] | None = None
) -> list[Table]:
    """Tables to move, parents before children: those named, else those of the groups, else all.

    Raises:
        MigrationError: a name that is not a table's, and which names are; two tables of one name; no table at all, or
            none of the groups; a column that the models know by another name than its own.
    """
    tables = _in_order(metadata)
    if not tables:
        raise _not_chosen(
            "the models hold no table",
            "the same command, with a --metadata whose models are imported when its module is",
        )
    other = next((one for table in tables for one in table.columns if one.key != one.name), None)
    if other is not None:
        raise _not_chosen(
            f"the models know {name_of(other.table)}.{other.name} by another key, {other.key}; columns go by name here",
            "take the column's key= out of the models, then: the same command",
        )
    by_name = {name_of(table): table for table in tables}
    if len(by_name) < len(tables):
        twice = sorted(name for name in by_name if sum(name_of(table) == name for table in tables) > 1)
        raise _not_chosen(
            f"the models hold tables of one name twice: {', '.join(twice)}",
            "the same command, with a --metadata that holds each once",
        )
    if names is not None:
        if not names:
            raise _not_among("no table is named", by_name)
        chosen = {name: find_table(name, by_name) for name in names}
        if unknown := sorted(name for name, found in chosen.items() if found is None):
            raise _not_among(f"no such table: {', '.join(unknown)}", by_name)
        return [table for table in tables if table in chosen.values()]
    wanted = None if groups is None else set(groups)
    of_groups = [table for table in tables if wanted is None or table.info.get("group") in wanted]
    if not of_groups:
        raise _not_among(f"no table is of the group {', '.join(sorted(wanted or ()))}", by_name)
    return of_groups


def find_table(name: str, by_name: Mapping[str, Table]) -> Table | None:
    """The table that a name is given for; without its schema too, where only one schema has a table of that name."""
    if name in by_name:
        return by_name[name]
    without_schema = [table for table in by_name.values() if table.name == name]
    return without_schema[0] if len(without_schema) == 1 else None


def _not_among(message: str, known: Iterable[str]) -> MigrationError:
    return _not_chosen(
        f"{message}; the tables are {', '.join(sorted(known))}", "the same command, with --tables of these"
    )


def _not_chosen(message: str, next_step: str) -> MigrationError:
    return MigrationError(
        message,
        step="choose tables",
        pending="everything; nothing was read or written",
        next_step=NextStep(next_step),
    )


def _in_order(metadata: MetaData) -> list[Table]:
    """All tables, parents before children; within a cycle of foreign keys in any order that does not change."""
    by_name = sorted(metadata.tables.values(), key=lambda table: table.key)
    ordered = sort_tables_and_constraints(by_name, filter_fn=_leads_nowhere)  # type: ignore[no-untyped-call]
    return [table for table, _ in ordered if table is not None]


def _leads_nowhere(constraint: ForeignKeyConstraint) -> bool | None:
    """Whether a foreign key names a table that is not among the models, such as auth.users: it orders nothing then."""
    try:
        constraint.referred_table  # noqa: B018 - it is looked up here
    except NoReferencedTableError:
        return True
    return None
