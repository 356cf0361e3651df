"""A table with the names that Python knows it by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.adopt.models.described_tables import DescribedConstraint, DescribedTable
from app.adopt.models.python_names import attribute_name, class_name, module_name

# Schema and name.
Place = tuple[str, str]


@dataclass(slots=True)
class NamedTable:
    """A table with the names that Python knows it by.

    Attributes:
        attributes: by column; `taken` has the names of the relationships, too.
        left_out: columns that it has no attribute for, since their values stay where they are.
        key: the columns by which rows are told apart; none: the table has no class.
    """

    table: DescribedTable
    module: str
    class_name: str
    attributes: dict[str, str]
    key: list[str]
    taken: set[str]
    left_out: list[str]
    relationships: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)


def name_tables(tables: Sequence[DescribedTable], hidden: Mapping[str, set[str]]) -> list[NamedTable]:
    """The tables with their names; none of `hidden`, by table, is a column of them."""
    names = [table.name if table.schema == "public" else f"{table.schema}_{table.name}" for table in tables]
    classes: list[str] = []
    for name in names:
        classes.append(class_name(name, classes))
    models: list[NamedTable] = []
    for table, name, of_class in zip(tables, names, classes, strict=True):
        attributes: dict[str, str] = {}
        left_out = hidden.get(f"{table.schema}.{table.name}", set()) & {column.name for column in table.columns}
        _hide(table, left_out)
        for column in table.columns:
            attributes[column.name] = attribute_name(column.name, [*classes, *attributes.values()])
        model = NamedTable(
            table,
            module_name(name, {other.module for other in models}),
            of_class,
            attributes,
            _key(table),
            {*classes, *attributes.values()},  # an annotation that names a class would find the attribute
            sorted(left_out),
        )
        models.append(model)
    return models


def _hide(table: DescribedTable, hidden: set[str]) -> None:
    """Leave columns out, with what is made of them."""
    table.columns = [column for column in table.columns if column.name not in hidden]
    table.constraints = [constraint for constraint in table.constraints if hidden.isdisjoint(constraint.columns)]
    table.indexes = [index for index in table.indexes if not any(column in hidden for _, column, _, _ in index.parts)]


def _key(table: DescribedTable) -> list[str]:
    """The primary key's columns, or those of a unique key without NULLs."""
    if table.primary_key is not None:
        return table.primary_key.columns[: table.primary_key.key_size]
    required = {column.name for column in table.columns if column.not_null}
    keys = [c.columns[: c.key_size] for c in table.constraints if c.kind == "u" and not c.deferrable]
    for index in table.indexes:
        if index.unique and index.plain and index.where is None:
            keys.append([column for _, column, _, _ in index.parts[: index.key_size] if column is not None])
    return next((key for key in keys if required.issuperset(key)), [])


def foreign_keys(table: DescribedTable) -> list[DescribedConstraint]:
    """The table's foreign keys."""
    return [constraint for constraint in table.constraints if constraint.kind == "f"]


def parent_of(key: DescribedConstraint) -> Place:
    """The table that a foreign key refers to."""
    assert key.parent_schema is not None
    assert key.parent is not None
    return key.parent_schema, key.parent
