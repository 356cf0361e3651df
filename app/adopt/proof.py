"""Runs a project's revisions on an empty database and compares its catalog with the source's, item by item."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from psycopg import AsyncConnection

from app.adopt.catalog import Catalog, Difference, differences, read_catalog
from app.adopt.scope import STEP, Scope
from app.adopt.scratch import Scratch
from app.errors import MigrationError
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.stores.postgres.database_url import libpq_url
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
    await run_revisions(directory, scratch.url)
    with explained(STEP, setting="the scratch database", pending="the proof"):
        async with await connect(scratch.url, setting="the scratch database", step=STEP) as connection:
            names = {"names": list(scope.auth_tables.values())}
            oids = [oid for (oid,) in await (await connection.execute(_AUTH_OIDS, names)).fetchall()]
            made = await read_catalog(connection, scope.schemas, oids, grants=scope.grants)
    return Proof(tuple(differences(source, made)), len(source), scratch.where)


async def run_revisions(directory: Path, url: str) -> None:
    """Upgrade a database with the revisions in a directory that has an `alembic.ini`, in a process of its own.

    Raises:
        MigrationError: a revision cannot be run; says why.
    """
    environment = dict(os.environ) | {"DATABASE_URL": libpq_url(url), "PYTHONWARNINGS": "ignore"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alembic", "upgrade", "head", cwd=directory, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise MigrationError(
            "the revisions cannot be run: " + (said.decode("utf-8", "replace").strip() or "no reason was given"),
            step=STEP,
            done=f"the files in {directory}",
            pending="the proof that the revisions make the same schema",
            next_step=NextStep("put right what is named, then: ", Command(STEP)),
        )
