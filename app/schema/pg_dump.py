"""Finds a pg_dump, and its pg_restore, that are new enough for a server."""

import asyncio
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.errors import MigrationError
from app.next_step import NextStep
from app.stores.postgres.database_url import libpq_url


@dataclass(frozen=True, slots=True)
class PgDump:
    """A pg_dump that is new enough, and its pg_restore.

    Attributes:
        newer: newer than the server, which may not know every setting that the archive's script begins with.
    """

    dump: Path
    restore: Path
    newer: bool


def address_for(url: str) -> tuple[str, dict[str, str]]:
    """What pg_dump is given of a database's URL: the value of --dbname, and its environment, which has the password.

    Other users can see a command line.
    """
    parts: dict[str, Any] = conninfo_to_dict(libpq_url(url))
    password = parts.pop("password", None)
    return make_conninfo(**parts), dict(os.environ) | ({"PGPASSWORD": str(password)} if password else {})


async def find_pg_dump(wanted: str | None, server_version: int, *, step: str, otherwise: NextStep) -> PgDump | None:
    """A pg_dump at least as new as the server.

    Args:
        wanted: a path; "none": not to be used; None: the one in PATH, if it is new enough.
        server_version: the major version.
        otherwise: what to do without it.

    Raises:
        MigrationError: the one that was named cannot be used.
    """
    if wanted == "none":
        return None
    found = shutil.which(wanted or "pg_dump")
    version = await _version_of(found) if found else None
    if found and version is not None and version >= server_version and (restore := await _restore_for(found, version)):
        return PgDump(Path(found), restore, version > server_version)
    if wanted is None:
        return None
    why = "cannot be run" if version is None else f"is of version {version}"
    if version is not None and version >= server_version:
        why = (
            f"of version {version} has no pg_restore beside it, and PATH has none of that version, to read its archive"
        )
    raise MigrationError(
        f"--pg-dump {wanted} {why}; it is to be {server_version} or newer, as the server is",
        step=step,
        pending="everything; nothing was changed",
        next_step=otherwise,
    )


async def _restore_for(dump: str, version: int) -> Path | None:
    """The pg_restore beside a pg_dump, or the one in PATH: an older one does not read its archives."""
    for found in (str(Path(dump).with_name("pg_restore")), shutil.which("pg_restore")):
        of = await _version_of(found) if found else None
        if found and of is not None and of >= version:
            return Path(found)
    return None


async def _version_of(program: str) -> int | None:
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await process.communicate()
        if matched := re.search(rb"\) (\d+)", out):
            return int(matched[1])
    return None
