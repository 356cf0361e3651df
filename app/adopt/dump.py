"""Has pg_dump read a schema, and gives its statements without what is pg_dump's or psql's own."""

import re
from collections.abc import Sequence, Set
from pathlib import Path
from tempfile import TemporaryDirectory

from app.adopt.scope import NOTHING_WRITTEN, STEP, Scope, quoted
from app.common.programs import run_program
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.schema.pg_dump import PgDump, address_for

# Where the first statement's heading begins, after pg_dump's settings, and where its last comment does.
_FIRST = re.compile(r"^--\n-- Name: ", re.MULTILINE)
_END = "\n--\n-- PostgreSQL database dump complete\n--\n"
# Entries of a table of contents that the revision does not want: what every database has, what lies outside of it, and
# what the administrator makes. A line is "dump id; catalog oid kind schema name owner".
_UNWANTED = re.compile(
    r"^\d+; \d+ \d+ (SCHEMA - public |COMMENT - SCHEMA public |PUBLICATION|SUBSCRIPTION"
    r"|(TABLE|CONSTRAINT|ACL|COMMENT) \S+ (TABLE )?alembic_version )"
)


async def read_statements(url: str, scope: Scope, pg_dump: PgDump) -> str:
    """The statements that make the schemas, and the tables of users where they come along, in the order that works.

    Raises:
        MigrationError: pg_dump cannot read the schema; its own words say why.
    """
    schemas = [f"--schema={quoted(name)}" for name in scope.schemas]
    schemas += [f"--exclude-table={quoted(schema)}.{quoted(name)}" for schema, name in scope.foreign_tables]
    users = [f"--table=auth.{quoted(name)}" for name in scope.auth_tables.values()]
    parts = []
    for section in ("pre-data", "post-data"):
        for chosen in filter(None, (users, schemas)):
            # Nobody gets rights on the tables of users with them.
            grants = scope.grants and chosen is not users
            parts.append(await _dump(url, [*chosen, f"--section={section}"], pg_dump, scope, grants=grants))
    if scope.late_functions:
        chosen = [*schemas, "--section=pre-data"]
        parts.append(await _dump(url, chosen, pg_dump, scope, grants=scope.grants, late=True))
    return "\n".join(part for part in parts if part)


async def table_statements(url: str, scope: Scope, tables: Sequence[tuple[str, str]], pg_dump: PgDump) -> str:
    """The statements that make single tables, with all that hangs on them."""
    chosen = [f"--table={quoted(schema)}.{quoted(name)}" for schema, name in tables]
    return await _dump(url, chosen, pg_dump, scope, grants=scope.grants) if chosen else ""


async def _dump(
    url: str, options: Sequence[str], programs: PgDump, scope: Scope, *, grants: bool, late: bool = False
) -> str:
    address, environment = address_for(url)
    environment["PGCLIENTENCODING"] = "UTF8"
    privileges = [] if grants else ["--no-privileges"]
    with TemporaryDirectory(prefix="botdata-") as directory:
        archive, contents = Path(directory) / "schema.dump", Path(directory) / "contents"
        common = ["--no-owner", "--no-publications", "--no-subscriptions", "--no-security-labels", *privileges]
        await _run(
            programs.dump, "--format=custom", "--schema-only", "--no-password", "--strict-names", *common, *options,
            f"--file={archive}", f"--dbname={address}", environment=environment,
        )  # fmt: skip
        listed = await _run(programs.restore, "--list", str(archive), environment=environment)
        contents.write_text("".join(_wanted(listed, scope, late=late)), "utf-8")
        script = await _run(
            programs.restore, *common, f"--use-list={contents}", "--file=-", str(archive), environment=environment
        )
    first = _FIRST.search(script)
    return script[first.start() : script.rindex(_END)].strip() + "\n" if first else ""


def _wanted(listed: str, scope: Scope, *, late: bool) -> list[str]:
    """The entries that are wanted, with partitions attached from the root down, as an identity is handed on.

    Args:
        late: those of the late functions, instead of all others.
    """
    strange = tuple(f"; 2620 {oid} " for oid in scope.strange_triggers)  # pg_trigger's own oid, and the trigger's
    lines = [
        line for line in listed.splitlines(True) if not (_UNWANTED.match(line) or any(one in line for one in strange))
    ]
    lines = [entry for entry, last in zip(lines, _are_late(lines, scope.late_functions), strict=True) if last == late]
    levels = {f" TABLE ATTACH {schema} {name} ": level for schema, name, level in scope.partitions}
    places = [at for at, line in enumerate(lines) if any(entry in line for entry in levels)]
    attached = [lines[at] for at in places]
    attached.sort(key=lambda line: next(level for entry, level in levels.items() if entry in line))
    for at, line in zip(places, attached, strict=True):
        lines[at] = line
    return lines


def _are_late(lines: Sequence[str], functions: Set[int]) -> list[bool]:
    """Whether each entry makes one of these functions, or is of one: its comment and rights come right after it."""
    late, is_late = [], False
    for line in lines:
        if made := re.match(r"\d+; 1255 (\d+) ", line):  # pg_proc's own oid, and the function's
            is_late = int(made[1]) in functions
        elif not re.match(r"\d+; 0 0 (COMMENT|ACL) \S+ (FUNCTION|PROCEDURE) ", line):
            is_late = False
        late.append(is_late)
    return late


async def _run(program: Path, *arguments: str, environment: dict[str, str]) -> str:
    done = await run_program(program, *arguments, environment=environment)
    if done.code:
        told = done.said.partition("\n")[0]
        raise MigrationError(
            f"{program.name} cannot read the schema: {told}",
            step=STEP,
            pending=NOTHING_WRITTEN,
            next_step=NextStep("give the role of --source the right that is named, then: ", Command(STEP)),
        )
    try:
        return done.out.decode("utf-8")
    except UnicodeDecodeError as error:  # of a database without an encoding
        raise MigrationError(
            "the schema holds text that is not UTF-8",
            step=STEP,
            pending=NOTHING_WRITTEN,
            next_step=NextStep("rename or rewrite it at the source, then: ", Command(STEP)),
        ) from error
