"""Gives the classes of a foreign key an attribute each for the other's rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from app.adopt.models.column_types import quoted
from app.adopt.models.described_tables import DescribedTable
from app.adopt.models.named_tables import NamedTable, Place, attribute_name, foreign_keys, parent_of


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
