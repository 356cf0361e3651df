"""A table with the names that Python knows it by: of its class and columns, and of rows that keys lead to."""

import keyword
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.adopt.models.column_types import quoted
from app.adopt.models.described_tables import DescribedConstraint, DescribedTable

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


# What the generated modules use themselves: an attribute of such a name would hide it from those after it.
_TAKEN = frozenset(
    {"Any", "Base", "DatabaseType", "Decimal", "Mapped", "Range", "UUID", "dt", "mapped_column", "metadata", "pg"}
    | {"registry", "relationship", "sa", "MultiRange", "TYPE_CHECKING"}
    | {"bool", "bytes", "float", "int", "list", "str"}
    | {"I", "O", "l"}  # linters take them for 1 and 0
)


def attribute_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of an attribute for a column: the column's own where that can be; unlike all that are `taken`."""
    plain = _letters(name)
    if not plain.isidentifier():
        plain = f"c_{plain}".rstrip("_") or "c"
    plain = re.sub(r"^__+", "c_", plain)  # Python keeps such names for itself
    plain = re.sub(r"^_sa_", "c_sa_", plain)  # and SQLAlchemy these
    return _unlike(plain, taken)


def class_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a class for a table: `post_items` and `Post Items` are PostItems."""
    plain = "".join(word[:1].upper() + word[1:] for word in _letters(name).split("_"))
    if not plain.isidentifier():
        plain = f"Table{plain}"
    return _unlike(plain, taken)


def module_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a module for a table, in small letters: some file systems take A and a for one."""
    words = re.sub(r"(?<=[a-zа-я0-9])(?=[A-ZА-Я])", "_", _letters(name))
    plain = re.sub(r"_+", "_", words.lower()).strip("_")
    if not plain.isidentifier():
        plain = f"t_{plain}".rstrip("_")
    return _unlike(plain, taken, frozenset({"base"}))


def _letters(name: str) -> str:
    """The name, with `_` for each character that no identifier may hold; some digits are of these."""
    return "".join(c if f"_{c}".isidentifier() else "_" for c in unicodedata.normalize("NFKC", name))


def _unlike(name: str, others: Iterable[str], reserved: frozenset[str] = _TAKEN) -> str:
    """The name, or one like it that is neither Python's own nor taken."""
    taken = set(others)
    if keyword.iskeyword(name) or name in reserved:
        name += "_"
    name = unicodedata.normalize("NFKC", name)  # as Python reads it, which joins an accent to the letter before it
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def closing_keys(tables: Sequence[DescribedTable]) -> set[Place]:
    """Foreign keys, by table and name, that close a circle: they are added after all tables."""
    parents: defaultdict[Place, set[Place]] = defaultdict(set)
    later: set[Place] = set()

    def leads_to(start: Place, end: Place) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            current = waiting.pop()
            if current == end:
                return True
            waiting += parents[current] - seen
            seen |= parents[current]
        return False

    for table in tables:
        for key in foreign_keys(table):
            child, parent = (table.schema, table.name), parent_of(key)
            if child == parent:
                continue
            if leads_to(parent, child):
                later.add((f"{table.schema}.{table.name}", key.name))
            else:
                parents[child].add(parent)
    return later


def relate(child: NamedTable, by_table: Mapping[Place, NamedTable], later: set[Place]) -> None:
    """Give both classes of each foreign key an attribute for the other's rows."""
    written: set[str] = set()
    unique = [set(c.columns[: c.key_size]) for c in child.table.constraints if c.kind in {"p", "u"}]
    for key in foreign_keys(child.table):
        parent = by_table.get(parent_of(key))
        if parent is child and key.columns == key.parent_columns:
            continue  # each row refers to itself
        if parent is None or not child.key or not parent.key or not set(key.parent_columns) <= parent.attributes.keys():
            continue
        stem = key.columns[0].removesuffix("_id") if len(key.columns) == 1 else parent.module
        one = attribute_name(stem if stem != key.columns[0] else f"{stem}_{parent.module.rstrip('_')}", child.taken)
        child.taken.add(one)
        many = attribute_name(child.module, parent.taken)
        parent.taken.add(many)
        local = ", ".join(child.attributes[column] for column in key.columns)
        # Two keys that share a column would both write it.
        shown = ", viewonly=True" if written.intersection(key.columns) else ""
        written.update(key.columns)
        single = set(key.columns) in unique
        to_self = ""
        if parent is child:
            to_self = f", remote_side=[{', '.join(parent.attributes[column] for column in key.parent_columns)}]"
        else:
            child.others.add(parent.class_name)
            parent.others.add(child.class_name)
        nullable = any(not column.not_null for column in child.table.columns if column.name in key.columns)
        optional = " | None" if nullable else ""
        after = (
            ", post_update=True"
            if (f"{child.table.schema}.{child.table.name}", key.name) in later and not shown
            else ""
        )
        child.relationships.append(
            f'{one}: Mapped["{parent.class_name}{optional}"] = relationship('
            f"foreign_keys=[{local}]{to_self}, back_populates={quoted(many)}{shown}{after})"
        )
        of_child = ", ".join(f"{child.class_name}.{child.attributes[column]}" for column in key.columns)
        kind = f'"{child.class_name} | None"' if single else f'list["{child.class_name}"]'
        parent.relationships.append(
            f"{many}: Mapped[{kind}] = relationship("
            f'foreign_keys="[{of_child}]", back_populates={quoted(one)}{shown}{after})'
        )
