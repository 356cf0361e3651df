"""Runs a project's revisions on an empty database and compares its catalog with the source's, item by item."""

from dataclasses import dataclass
from pathlib import Path

from psycopg import AsyncConnection

from app.adopt.catalog import Catalog, Difference, differences, read_catalog
from app.adopt.rewording import without_rewordings
from app.adopt.scope import STEP, Scope
from app.adopt.scratch import Scratch
from app.migration.target.target_session import explained
from app.schema.project import upgrade_project
from app.stores.postgres.session import connect

_AUTH_OIDS = "SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('auth') AND relname = ANY (%(names)s)"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the comparison found.

    Attributes:
        items: how many were compared.
        where: on which database.
    """

    differences: tuple[Difference, ...]
    items: int
    where: str


async def source_catalog(connection: AsyncConnection, scope: Scope) -> Catalog:
    """The catalog of what is adopted; psycopg.Error where the server refuses."""
    return await read_catalog(connection, scope.schemas, list(scope.auth_tables), grants=scope.grants)


async def prove(source: Catalog, scope: Scope, scratch: Scratch, directory: Path) -> Proof:
    """Upgrade the scratch database to the project's newest revision, and compare.

    Raises:
        MigrationError: a revision cannot be run; says why.
    """
    await upgrade_project(directory / "alembic.ini", scratch.url, step=STEP)
    with explained(STEP, setting="the scratch database", pending="the proof"):
        async with await connect(scratch.url, setting="the scratch database", step=STEP) as connection:
            names = {"names": list(scope.auth_tables.values())}
            oids = [oid for (oid,) in await (await connection.execute(_AUTH_OIDS, names)).fetchall()]
            made = await read_catalog(connection, scope.schemas, oids, grants=scope.grants)
            found = await without_rewordings(connection, differences(source, made), scope.schemas, oids)
    return Proof(tuple(found), len(source), scratch.where)
