"""Salons of a database, as its catalog tells them: schemas with revisions, or with the tool's own schema beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from app.common.schemas import DATA, Schemas, trouble_with_target
from app.state.fetching import fetch_column, fetch_rows
from app.state.schema_name import SCHEMA

# By the names of the tables, of which the catalog has an index: not the whole of it is read.
_FIND = """
SELECT n.nspname::text, array_agg(c.relname::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname IN ('alembic_version', 'version', 'stage') AND c.relkind = 'r' GROUP BY n.nspname
"""
_FILLED = """
SELECT nspname::text FROM pg_namespace WHERE nspname = ANY (%(names)s)
AND oid IN (SELECT relnamespace FROM pg_class UNION SELECT pronamespace FROM pg_proc)
"""
_TOOL = Schemas().tool  # beside public; the others' end in its name


@dataclass(frozen=True, slots=True)
class Salon:
    """A schema that holds a salon.

    Attributes:
        has_revisions: Alembic's version table is in it.
        has_tool: the tool's own schema is beside it.
        has_stage: that one has the row of the stage.
    """

    name: str
    has_revisions: bool = False
    has_tool: bool = False
    has_stage: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a salon stands.

    Attributes:
        revision: of its schema; None: none was ever applied.
        tool_version: of the tool's own schema; 0: there is none.
        stage: of its cutover; None: there is no row of it.
        moved_out_at: since when its tables are another server's; None: they are this one's.
        archive: the checksum of the archive that it left with; None: it is here, or the archive is not complete.
    """

    revision: str | None
    tool_version: int
    stage: str | None
    moved_out_at: datetime | None = None
    archive: str | None = None


async def find_salons(connection: AsyncConnection) -> list[Salon]:
    """All of a database, by their names: schemas that botdata can be asked for, and no reserved ones."""
    tables = {schema: set(names) for schema, names in await fetch_rows(connection, _FIND)}
    names = {schema for schema, found in tables.items() if "alembic_version" in found}
    names |= {
        "public" if schema == _TOOL else schema.removesuffix(f"_{_TOOL}")
        for schema, found in tables.items()
        if "version" in found and (schema == _TOOL or schema.endswith(f"_{_TOOL}"))
    }
    salons = []
    for name in sorted(names):
        if name == "public" or trouble_with_target(name) is None:
            tool = tables.get(Schemas(name).tool, set())
            has_revisions = "alembic_version" in tables.get(name, set())
            salons.append(Salon(name, has_revisions, "version" in tool, {"version", "stage"} <= tool))
    return salons


async def filled_schemas(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    """Those of the names whose schemas are there and hold something."""
    return set(await fetch_column(connection, _FILLED, {"names": list(names)}))


async def read_standing(connection: AsyncConnection, salon: Salon) -> Standing:
    """Where the salon stands whose tables the connection's statements mean, by one query."""
    revision = f"(SELECT string_agg(version_num, ', ') FROM {DATA}.alembic_version)" if salon.has_revisions else "NULL"
    version = f"(SELECT coalesce(max(version), 0) FROM {SCHEMA}.version)" if salon.has_tool else "0"
    # An older version's row has fewer columns.
    stage = f"(SELECT to_jsonb(s) FROM {SCHEMA}.stage s)" if salon.has_stage else "NULL"
    ((found, number, at),) = await fetch_rows(connection, f"SELECT {revision}, {version}, {stage}")
    row = at or {}
    moved_out_at = row.get("moved_out_at")
    return Standing(
        found,
        number,
        row.get("stage"),
        datetime.fromisoformat(moved_out_at) if moved_out_at else None,
        row.get("archive"),
    )
