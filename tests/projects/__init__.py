"""Whole projects as SQL files, each with rows: see their first lines. This loads one, and makes its schema elsewhere.

A project makes the roles of Supabase, which are the server's: it is loaded on a server that no other worker uses.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from app.embedded import EmbeddedPostgres

PROJECTS = ("saas", "shop", "prisma")  # contrib needs extensions that the embedded server has not
# What Supabase keeps to itself.
SUPABASE = ("auth", "storage", "extensions", "realtime", "vault", "supabase_migrations")


def load(server: EmbeddedPostgres, project: str, url: str) -> None:
    """Makes a project's schema and rows in an empty database of the server.

    Args:
        project: the file's name, without its end.
    """
    _psql(server, url, "--file", str(Path(__file__).with_name(f"{project}.sql")))


def schema_of(server: EmbeddedPostgres, url: str) -> str:
    """The statements with which pg_dump makes a database's schema again, without those of `botdata`."""
    dump = _run(server, "pg_dump", "--schema-only", "--exclude-schema=botdata", url)
    # What keeps psql from running commands of its own bears a word that is another each time.
    return "".join(
        line for line in dump.splitlines(keepends=True) if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def restore(server: EmbeddedPostgres, schema: str, url: str) -> None:
    """Makes a schema in an empty database; an error of any statement fails."""
    _psql(server, url, "--file", "-", given=schema)


def _psql(server: EmbeddedPostgres, url: str, *words: str, given: str = "") -> None:
    _run(server, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", url, *words, given=given)


def _run(server: EmbeddedPostgres, program: str, *words: str, given: str = "") -> str:
    command = [server.binary(program), *words]
    done = subprocess.run(
        command, env=server.environment, input=given, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
