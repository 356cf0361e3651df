"""The command `botdata schema replace`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, Yes, again
from app.cli.project import refuse_other_schema
from app.cli.render import Document, Table, Words, document, say, say_words, show
from app.cli.running import load_settings, run_async
from app.cli.work import refuse_source_as_target
from app.errors import MigrationError
from app.next_step import Command, NextStep

if TYPE_CHECKING:
    from app.schema.plan import PlannedTable, ReplacePlan
    from app.schema.replace import Replaced

_COMMAND = "schema replace"


def replace(
    yes: Yes = False,
    backup_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where what is dropped is backed up to; made if missing.",
            show_default="botdata-backup-DATABASE-TIME",
        ),
    ] = None,
    pg_dump: Annotated[
        str | None,
        typer.Option(
            "--pg-dump",
            help="The pg_dump to use, at least as new as the server; none: COPY files.",
            metavar="PATH|none",
            show_default="the one in PATH",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="A table that is not known, and may stay.", metavar="TABLE", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replace a schema that no revision made. It is backed up and dropped; the WhatsApp session tables stay.

    Example: botdata schema replace --backup-dir /var/backups/botdata
    """
    from app.schema import replace as schema
    from app.schema.plan import is_current

    refuse_other_schema(_COMMAND)
    settings = load_settings()
    target = settings.require_database_url()
    refuse_source_as_target(settings, target)
    plan = run_async(schema.look(target, keep or ()))
    leftovers = _leftovers(plan.database)
    if plan.schema is None:
        if not is_current(plan) and plan.revision is not None:
            raise MigrationError(
                f"the target is at revision {plan.revision}, which revisions lead on from",
                step=_COMMAND,
                pending="nothing was changed",
                next_step=NextStep(Command("upgrade")),
            )
        say("schema: nothing to replace" + (f"; already at {plan.revision}" if plan.revision else ""))
        say_words(_leftover_lines(leftovers))
        command = "botdata status" if plan.revision else "botdata upgrade"
        show(_document(plan, None, leftovers, command), [f"Next: {command}"], as_json, beside=True)
        return
    say_words(_plan_words(plan))
    say_words(_leftover_lines(leftovers))
    schema.refuse_blocked(plan)
    if settings.flags.use_repository_pattern:
        raise MigrationError(
            "USE_REPOSITORY_PATTERN says that PostgreSQL is the bot's store already",
            step=_COMMAND,
            pending="everything; nothing was changed",
            next_step=NextStep("unset it, if the bot does not use this database, then: ", Command(_COMMAND)),
        )
    if not yes and not _typed(plan.database, as_json):
        command = " ".join([f"botdata {_COMMAND}", *again(backup_dir=backup_dir, pg_dump=pg_dump, keep=keep), "--yes"])
        show(_document(plan, None, leftovers, command), [f"Nothing was changed. Next: {command}"], as_json, beside=True)
    options = schema.ReplaceOptions(
        backup_directory=backup_dir or _new_directory(plan.database),
        pg_dump=pg_dump,
        keep=frozenset(keep or ()),
        lock_timeout=settings.lock_timeout,
    )
    done = run_async(schema.replace(target, plan, options))
    backup = done.backup
    say(f"backup: {sum(backup.rows.values()):,} rows, {backup.size:,} bytes ({backup.kind}) in {backup.directory}")
    for notice in done.notices:
        say(f"{'warning: ' if notice.warning else ''}{notice.text}")
    say(f"schema: replaced {plan.schema}; now at {done.revision}. The WhatsApp session rows are the same as before.")
    show(_document(done.plan, done, leftovers, "botdata migrate"), ["Next: botdata migrate"], as_json, beside=True)


def _typed(database: str, as_json: bool) -> bool:
    """Whether a person typed the database's name."""
    if as_json or not sys.stdin.isatty():
        return False
    return str(typer.prompt(f"To do it, type the database's name ({database})", default="", show_default=False)) == (
        database
    )


def _new_directory(database: str) -> Path:
    directory = Path(f"botdata-backup-{database}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    while directory.exists():  # of a start in the same second
        directory = directory.with_name(f"{directory.name}-again")
    return directory


def _leftovers(database: str) -> list[Document]:
    """Backups that earlier starts left in the working directory."""
    from app.schema.backup import COMPLETE

    return [
        {"directory": str(found), "complete": (found / COMPLETE).exists()}
        for found in sorted(Path().glob(f"botdata-backup-{database}-*"))
        if found.is_dir()
    ]


def _leftover_lines(leftovers: list[Document]) -> Words:
    for one in leftovers:
        words = "complete" if one["complete"] else "NOT complete, and can be deleted"
        yield f"backup of an earlier start: {one['directory']} ({words})"


def _plan_words(plan: ReplacePlan) -> Words:
    yield f"The database {plan.database} holds {plan.schema}."
    yield Table(
        ["table", "rows", "what happens"],
        [
            *([table.name, table.rows, _fate(table)] for table in plan.tables),
            *([table.name, table.rows, "kept, not touched"] for table in plan.kept),
            *([name, "", "kept (--keep)"] for name in plan.others),
        ],
        numbers={1},
    )
    for heading, names in (
        ("sequences dropped", plan.sequences),
        ("functions dropped", plan.functions),
        ("triggers dropped", plan.triggers),
        ("indexes added to the session tables, while they are in use", plan.indexes),
    ):
        if names:
            yield f"{heading}: {', '.join(names)}"


def _fate(table: PlannedTable) -> str:
    if table.partition_of:
        return f"backed up, dropped (partition of {table.partition_of})"
    return "backed up, dropped" + (" (partitioned)" if table.partitioned else "")


def _document(plan: ReplacePlan, done: Replaced | None, leftovers: list[Document], following: str) -> Document:
    backup = done.backup if done else None
    return document(
        _COMMAND,
        ok=done is not None or plan.schema is None,
        database=plan.database,
        schema=plan.schema,
        revision=done.revision if done else plan.revision,
        replaced=done is not None,
        tables=[
            {"table": one.name, "rows": one.rows, "partition_of": one.partition_of, "kept": kept}
            for kept, tables in ((False, plan.tables), (True, plan.kept))
            for one in tables
        ],
        functions=list(plan.functions),
        triggers=list(plan.triggers),
        sequences=list(plan.sequences),
        indexes=list(plan.indexes),
        backup={"directory": str(backup.directory), "kind": backup.kind, "bytes": backup.size} if backup else None,
        leftovers=leftovers,
        notices=[{"warning": one.warning, "text": one.text} for one in (done.notices if done else ())],
        next=following,
    )
