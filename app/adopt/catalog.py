"""Reads the catalog of the chosen schemas, and tells what one has that another has not, or has otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection

from app.adopt.catalog_queries import COMMENTS, GRANTS, QUERIES

# By kind and name, such as ("index", "public.clients_phone on public.clients").
Catalog = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which two catalogs differ.

    Attributes:
        source, target: its definition on either side; None: it is not there.
    """

    kind: str
    name: str
    source: str | None
    target: str | None

    def __str__(self) -> str:
        how = "differs" if None not in (self.source, self.target) else "is missing" if self.source else "is new"
        return f"{self.kind} {self.name} {how}"


async def read_catalog(
    connection: AsyncConnection, schemas: Sequence[str], tables: Sequence[int] = (), *, grants: bool = False
) -> Catalog:
    """Everything in the schemas that people make there, with its definition as the server writes it.

    Args:
        tables: oids of relations outside the schemas that belong to it.
        grants: who may do what, too.

    Raises:
        psycopg.Error: the server refuses.
    """
    arguments = {"schemas": list(schemas), "tables": list(tables)}
    catalog: Catalog = {}
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = ''")
        seen: set[tuple[str, int]] = set()
        for kind, (of_catalog, query) in QUERIES.items():
            for name, definition, oid in await (await connection.execute(query, arguments)).fetchall():
                catalog[kind, name] = definition
                seen.add((of_catalog, oid))
        for of_catalog, oid, name, text in await (await connection.execute(COMMENTS)).fetchall():
            if (of_catalog, oid) in seen:
                catalog["comment", name] = text
        if grants:
            rows = await (await connection.execute(GRANTS, arguments)).fetchall()
            catalog |= {("grant", name): definition for name, definition, _ in rows}
    return catalog


def differences(source: Mapping[tuple[str, str], str], target: Mapping[tuple[str, str], str]) -> list[Difference]:
    """What is missing, new or otherwise in the target, in the source's order."""
    every = [*source, *sorted(target.keys() - source.keys())]
    return [Difference(*key, source.get(key), target.get(key)) for key in every if source.get(key) != target.get(key)]


def split_name(name: str, separator: str) -> tuple[str, str]:
    """Both sides of the last separator outside of quotes, as in `schema.table.column` or `policy on schema.table`."""
    last = max(at for at in range(len(name)) if name.startswith(separator, at) and name.count('"', 0, at) % 2 == 0)
    return name[:last], name[last + len(separator) :]
