"""What is on its way between the two stores at one moment, by all tables that know of it."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from app.common.keys import Key
from app.state.fetching import Connection, fetch_row
from app.state.schema_name import SCHEMA

_WAITING = f"""
SELECT '{{table}}', id, table_name, key FROM {SCHEMA}.{{table}} WHERE table_name = ANY(%(whole)s)
OR (table_name, key) IN (
    SELECT k->>0, ARRAY(SELECT json_array_elements_text(k->1)) FROM json_array_elements(CAST(%(keys)s AS json)) k)
"""
# A process that did not report since the stores were asked may have keys in its spool that nobody else knows of.
# A table that was synced in the last minute is brought over again and again.
_LOOK = f"""
SELECT (SELECT count(*) FROM {SCHEMA}.processes
        WHERE spooled > 0 OR reported_at <= CAST(%(since)s AS timestamptz)),
    (SELECT CAST(json_agg(json_build_array(kind, id, table_name, key)) AS text) FROM (
        {_WAITING.format(table="notes")} UNION ALL {_WAITING.format(table="outbox")}) w (kind, id, table_name, key)),
    EXISTS (SELECT FROM {SCHEMA}.table_authority WHERE table_name = ANY(%(own)s) AND authority = 'postgres'),
    EXISTS (SELECT FROM {SCHEMA}.synced_tables WHERE table_name = ANY(%(own)s)
            AND began_at <= CAST(%(since)s AS timestamptz)
            AND ended_at > clock_timestamp() - interval '60 seconds'),
    stage, moved_at FROM {SCHEMA}.stage
"""
WaitingKey: TypeAlias = tuple[str, int, str, Key]  # table, number, and the bot's table and key that it is of


class OnTheWay(NamedTuple):
    """What was seen.

    Attributes:
        late: processes that have notes in their spool, or did not report since the stores were asked.
        waiting: notes and entries of the rows that matter.
        is_ours: the writer of a table writes to PostgreSQL, and nothing brings its rows to Supabase.
        is_behind: a table is being synced, and its sync has not come round since the stores were asked.
        stage, moved_at: of the row of the stage.
    """

    late: int
    waiting: set[WaitingKey]
    is_ours: bool
    is_behind: bool
    stage: str
    moved_at: datetime | None


async def look(
    connection: Connection, keys: str, whole: Sequence[str], own: Sequence[str], since: datetime | None
) -> OnTheWay:
    """All of it, in one statement.

    Args:
        keys: of the rows that matter, a JSON array of pairs of a table and a natural key.
        whole: tables all of whose rows matter.
        own: tables that the call reads and no method of the data layer writes.
        since: when the stores were asked; None: they were not yet.
    """
    given = {"keys": keys, "whole": list(whole), "own": list(own), "since": since}
    late, waiting, *rest = await fetch_row(connection, _LOOK, given)
    numbered = {(kind, number, table, tuple(key)) for kind, number, table, key in json.loads(waiting or "[]")}
    return OnTheWay(late, numbered, *rest)
