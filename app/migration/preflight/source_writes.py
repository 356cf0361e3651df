"""What a source does by itself with rows that go back to it: triggers, webhooks, rules and event triggers."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.schemas import said, schemas_of
from app.errors import MigrationError
from app.migration.preflight.findings import Accepted, Finding, finding
from app.migration.preflight.sources.postgres_source import connect_to_source
from app.migration.tables.copy_table import label
from app.migration.target.interference import Interference, find_interference
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.state.fetching import fetch_rows

# The tables, and those whose rows a foreign key deletes or changes with theirs: of other schemas too.
# pg_constraint.confdeltype, confupdtype: c cascade, n set null, d set default.
_REACHED = """
WITH RECURSIVE reached (oid) AS (
    SELECT to_regclass(quote_ident(s) || '.' || quote_ident(t))::oid
    FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS named (s, t)
    UNION
    SELECT k.conrelid FROM reached JOIN pg_constraint k ON k.confrelid = reached.oid
    WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
)
SELECT SAID, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    is_named AND c.relkind NOT IN ('r', 'f')
FROM reached JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT (n.nspname, c.relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[])) AS is_named) named
WHERE is_named OR NOT c.relispartition
ORDER BY 1, 2
""".replace("SAID", said("n.nspname"))
# A sync connects; and for a table that is none of the plain ones it makes a temporary table.
_EVENT_TRIGGERS = """
SELECT evtname, evtfoid::regproc::text FROM pg_event_trigger WHERE evtenabled IN ('O', 'A')
AND (evtevent = 'login' OR %(makes)s AND evtevent IN ('ddl_command_start', 'ddl_command_end')
    AND (evttags IS NULL OR 'CREATE TABLE' = ANY (evttags)))
ORDER BY 1
"""


async def examine_source_writes(url: str | None, tables: Sequence[Table]) -> list[Finding]:
    """What fires at the source when rows of these tables are written there.

    Args:
        url: of the source's PostgreSQL; None: Supabase over REST, which shows nothing of it.

    Raises:
        MigrationError: the source cannot be read.
    """
    if url is None:
        return [
            _finding(
                "source-triggers-unseen",
                "over REST the triggers, webhooks, rules and event triggers of the source are not seen: what goes back "
                "fires them, so that mails may be sent and other services called",
                None,
                None,
            )
        ]
    with explained("sync", setting="--source", pending="everything; nothing was written"):
        async with connect_to_source(url) as connection:
            return await _examine(connection, tables)


async def _examine(connection: AsyncConnection, tables: Sequence[Table]) -> list[Finding]:
    here = schemas_of(connection).data
    named = {"schemas": [table.schema or here for table in tables], "names": [table.name for table in tables]}
    reached = await fetch_rows(connection, _REACHED, named)
    found = {}
    for schema, name, quoted, _ in reached:
        for one in await find_interference(connection, quoted):
            if one.fires(silent=False):
                of_table = one.quoted == quoted  # and not of a partition
                found[one.kind, one.name, one.quoted] = _of(one, label(schema, name) if of_table else one.relation)
    makes = any(partitioned for *_, partitioned in reached)
    events = await fetch_rows(connection, _EVENT_TRIGGERS, {"makes": makes})
    return [
        *found.values(),
        *(
            _finding("source-event-trigger", f"event trigger {name} of the source runs {function}", None, name)
            for name, function in events
        ),
    ]


def _of(one: Interference, table: str) -> Finding:
    when = "/".join(sorted(one.events))
    if one.kind == "RULE":
        return _finding(
            "source-rule", f"rule {one.name} of the source's {one.relation} rewrites {when}", table, one.name
        )
    message = f"trigger {one.name} of the source's {one.relation} {one.runs} on {when}"
    return _finding("source-trigger", message, table, one.name)


def _finding(code: str, message: str, table: str | None, name: str | None) -> Finding:
    found = finding(code, message, "", table=table, name=name)
    accept = f"--accept {shlex.quote(found.accepted_as)}"
    return replace(
        found, remedy=f"if it may happen to every row that goes back: {accept}; else disable it at the source"
    )


def refuse_unaccepted(found: Sequence[Finding], accepted: Accepted) -> tuple[Finding, ...]:
    """Stop where one was not accepted; gives those that were.

    Raises:
        MigrationError: names the ones that were not, and the options for all.
    """
    settled = accepted.apply(found)
    if open_ones := [one for one in settled if one.severity == "error"]:
        options = " ".join(f"--accept {shlex.quote(one.accepted_as)}" for one in found)
        raise MigrationError(
            "rows that go back would fire what the source does by itself: "
            + "; ".join(f"{one.message} ({one.code})" for one in open_ones),
            step="sync",
            table=open_ones[0].table if len(open_ones) == 1 else None,
            pending="everything; nothing was written",
            next_step=NextStep("disable them at the source; or, if all of it may happen: ", Command("sync", options)),
        )
    return settled
