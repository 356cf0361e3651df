"""Backs up tables that are about to be dropped, from one snapshot, and proves that the backup can be read."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from psycopg import AsyncConnection, sql

from app.common.programs import run_program
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.schema.ddl import columns_to_copy, functions_sql, tables_sql
from app.schema.pg_dump import PgDump, address_for
from app.schema.plan import ReplacePlan
from app.state.fetching import fetch_row

STEP = "schema replace"
_ARCHIVE = "tables.dump"
# Written last: a directory without it holds a backup that was not finished.
COMPLETE = "README.md"


@dataclass(frozen=True, slots=True)
class Backup:
    """What was written.

    Attributes:
        kind: "pg_dump archive" or "COPY files".
        rows: by table, as read back from the backup.
        size: bytes of all files.
    """

    directory: Path
    kind: str
    rows: dict[str, int]
    size: int


def make_directory(directory: Path) -> None:
    """Make the directory, closed to other users; MigrationError where it exists with files, or cannot be made.

    One that is there is left as it is: each file in it will be closed to others.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        filled = any(directory.iterdir())
    except OSError as error:
        raise _unwritable(directory, error) from error
    if filled:
        raise MigrationError(
            f"--backup-dir {directory} holds files already",
            step=STEP,
            pending="everything; nothing was changed",
            next_step=NextStep(Command(STEP), " with another --backup-dir"),
        )


def _unwritable(directory: Path, error: OSError) -> MigrationError:
    return MigrationError(
        f"the backup cannot be written to {directory}: {error.strerror}",
        step=STEP,
        pending="everything; nothing was changed",
        next_step=NextStep(Command(STEP), " with another --backup-dir"),
    )


async def back_up(
    connection: AsyncConnection, url: str, plan: ReplacePlan, directory: Path, pg_dump: PgDump | None
) -> Backup:
    """Write everything that the plan drops, and read it back.

    Args:
        connection: in the transaction whose snapshot is to be backed up, with an empty search path.
        directory: made, and empty.

    Raises:
        MigrationError: it could not be written, or does not hold every row.
        psycopg.Error: the server refuses.
    """
    try:
        _write(directory / "functions.sql", await functions_sql(connection, plan.functions))
        if pg_dump is not None:
            kind = "pg_dump archive"
            rows = await _archive(connection, url, plan, directory / _ARCHIVE, pg_dump)
        else:
            kind = "COPY files"
            rows = await _copy_files(connection, plan, directory)
        expected = {table.name: table.rows for table in plan.leaves}
        if rows != expected:
            wrong = sorted(name for name in expected.keys() | rows.keys() if expected.get(name) != rows.get(name))
            raise MigrationError(
                f"the backup in {directory} does not hold every row of {', '.join(wrong)}",
                step=STEP,
                done=f"an incomplete backup in {directory}, which can be deleted",
                pending="everything else; nothing was changed in the database",
                next_step=NextStep(Command(STEP)),
            )
        _write(directory / COMPLETE, _instructions(plan, rows, pg_dump))
    except OSError as error:
        raise _unwritable(directory, error) from error
    return Backup(directory, kind, rows, _size(directory))


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def _create(path: Path) -> BinaryIO:
    """A new file that other users cannot read."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _write(path: Path, text: str) -> None:
    with _create(path) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


async def _archive(
    connection: AsyncConnection, url: str, plan: ReplacePlan, path: Path, programs: PgDump
) -> dict[str, int]:
    snapshot, timeout = await fetch_row(connection, "SELECT pg_export_snapshot(), current_setting('lock_timeout')")
    address, environment = address_for(url)
    tables = [f'--table=public."{_quoted(name)}"' for name in (*(t.name for t in plan.tables), *plan.sequences)]
    with _create(path) as file:
        await _run(
            [
                str(programs.dump), "--format=custom", "--no-password", "--strict-names", f"--snapshot={snapshot}",
                f"--lock-wait-timeout={timeout}",  # it could have to wait for one who waits for the present transaction
                f"--dbname={address}", *tables,
            ],
            environment,
            stdout=file.fileno(),
        )  # fmt: skip
        os.fsync(file.fileno())
    return await _rows_in_archive(path, plan, programs, environment)


def _quoted(name: str) -> str:
    return name.replace('"', '""')


async def _run(arguments: list[str], environment: dict[str, str], *, stdout: int) -> None:
    done = await run_program(*arguments, environment=environment, stdout=stdout)
    if done.code:
        first = done.said.partition("\n")[0]
        raise MigrationError(
            f"{Path(arguments[0]).name} could not write the backup: {first}",
            step=STEP,
            pending="everything; nothing was changed in the database",
            next_step=NextStep(Command(STEP, "--pg-dump none"), ", which writes COPY files instead"),
        )


async def _rows_in_archive(
    path: Path, plan: ReplacePlan, programs: PgDump, environment: dict[str, str]
) -> dict[str, int]:
    """Read the whole archive back, and count the rows of each table."""
    process = await asyncio.create_subprocess_exec(
        str(programs.restore), "--data-only", "--file=-", str(path), env=environment, limit=2**30,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    by_heading = {
        f"COPY public.{spelled} (".encode(): table.name
        for table in plan.leaves
        for spelled in (table.name, f'"{_quoted(table.name)}"')
    }
    rows: dict[str, int] = {}
    current: str | None = None
    try:
        async for line in process.stdout:
            if current is None:
                current = by_heading.get(line[: line.find(b"(") + 1]) if line.startswith(b"COPY ") else None
                if current is not None:
                    rows[current] = 0
            elif line == b"\\.\n":
                current = None
            else:
                rows[current] += 1
        await process.wait()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return rows if process.returncode == 0 else {}


async def _copy_files(connection: AsyncConnection, plan: ReplacePlan, directory: Path) -> dict[str, int]:
    names = [table.name for table in plan.tables]
    before, after = await tables_sql(connection, names)
    _write(directory / "before_rows.sql", before)
    _write(directory / "after_rows.sql", after)
    rows: dict[str, int] = {}
    restore = ["\\ir functions.sql", "\\ir before_rows.sql"]
    for number, table in enumerate(plan.leaves, start=1):
        columns = sql.SQL(", ").join(map(sql.Identifier, await columns_to_copy(connection, table.name)))
        relation = sql.SQL("{} ({})").format(sql.Identifier("public", table.name), columns)
        path = directory / f"{number:02}.copy"
        with _create(path) as file:
            async with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(relation)) as copy:
                async for block in copy:
                    file.write(block)
            file.flush()
            os.fsync(file.fileno())
        rows[table.name] = _lines(path)  # in text format a row is a line
        restore.append(f"\\copy {relation.as_string(connection)} FROM '{path.name}'")
    _write(directory / "restore.sql", "\n".join([*restore, "\\ir after_rows.sql"]) + "\n")
    return rows


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


def _instructions(plan: ReplacePlan, rows: dict[str, int], pg_dump: PgDump | None) -> str:
    listed: Sequence[str] = [f"| {name} | {count:,} |" for name, count in rows.items()]
    run = 'psql "$DATABASE" -v ON_ERROR_STOP=1 --single-transaction'
    if pg_dump is None:
        commands = [f"{run} -f restore.sql"]
    elif pg_dump.newer:  # pg_restore 17 and later set transaction_timeout, which earlier servers refuse
        commands = [
            f"{run} -f functions.sql",
            f"pg_restore --file=tables.sql {_ARCHIVE}",
            f"sed '/^SET transaction_timeout = 0;$/d' tables.sql | {run}",
        ]
    else:
        commands = [
            f"{run} -f functions.sql",
            f'pg_restore --dbname "$DATABASE" --exit-on-error --single-transaction {_ARCHIVE}',
        ]
    return "\n".join(
        [
            f"# Backup of {plan.schema} from the database {plan.database}",
            "",
            "Taken by `botdata schema replace` before it dropped these tables, from one snapshot, and read back.",
            "It holds personal data. To restore it, into a database that has no tables of these names:",
            "",
            "```sh",
            "cd to-this-directory",
            "DATABASE=postgresql://user:password@host:5432/another_database",
            *commands,
            "```",
            "",
            "| table | rows |",
            "|---|---|",
            *listed,
            "",
        ]
    )
