"""Tables `notes` and `last_left_note`: natural keys that are being written to Supabase, until PostgreSQL has the rows.

`keys` is a JSON array of natural keys, each an array of texts.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from app.common.keys import Key
from app.common.schemas import Statements
from app.cutover.locks import IN_TURN
from app.cutover.stages import Stage, Store
from app.errors import AuthorityMovedError, SchemaMismatchError
from app.state.schema_name import SCHEMA

State: TypeAlias = Literal["writing", "written", "unknown"]
Ids: TypeAlias = dict[Key, int]  # of notes, by key

# What was proven before is worth nothing.
SPOIL_PROOFS = f"UPDATE {SCHEMA}.last_left_note SET left_at = clock_timestamp()"
# One statement, thus one round trip, since every write waits for it. A row that was locked is read as it is then.
# LIMIT says that the stage has one row: PostgreSQL does not know, and would take the rest for dear, and compile it.
_NOTE = (
    "WITH stage AS MATERIALIZED (SELECT stage, stage = ANY(%(stages)s) OR moved_at IS NULL AS may_write "
    f"FROM {SCHEMA}.stage WHERE {IN_TURN} LIMIT 1 FOR SHARE), noted AS ("
    f"INSERT INTO {SCHEMA}.notes (process, table_name, key) "
    "SELECT %(process)s, %(table)s, ARRAY(SELECT json_array_elements_text(k)) "
    "FROM stage, json_array_elements(CAST(%(keys)s AS json)) k WHERE may_write RETURNING id, key) "
    "SELECT stage, may_write, id, key FROM stage LEFT JOIN noted ON true"
)
_OF_SUPABASE = [str(stage) for stage in Stage if stage.authority is Store.SUPABASE]


async def note(statements: Statements, process: str, table: str, keys: str) -> Ids:
    """Note keys that are to be written.

    Raises:
        AuthorityMovedError: Supabase is no longer the store to write to. The stage is read under a lock, so that one
            who moves it afterwards sees the notes.
        SchemaMismatchError: there is no row of the stage.
    """
    given = {"process": process, "table": table, "keys": keys, "stages": _OF_SUPABASE}
    rows = await (await statements.execute(_NOTE, given)).fetchall()
    if not rows:
        raise SchemaMismatchError("the tool's table stage has no row")
    stage, may_write = rows[0][:2]
    if not may_write:
        raise AuthorityMovedError(
            f"the cutover stands at {stage}, where writes go to PostgreSQL first; nothing was written"
        )
    return {tuple(key): number for _, _, number, key in rows}


async def insert(
    statements: Statements,
    process: str,
    table: str,
    keys: str,
    state: State,
    attempts: int = 0,
    error: str | None = None,
) -> Ids:
    """Add notes of writes that went on without one, whatever the stage is."""
    noted = await statements.execute(
        f"INSERT INTO {SCHEMA}.notes (process, table_name, key, state, attempts, last_error) "
        "SELECT %(process)s, %(table)s, ARRAY(SELECT json_array_elements_text(k)), %(state)s, %(attempts)s, %(error)s "
        "FROM json_array_elements(CAST(%(keys)s AS json)) k RETURNING id, key",
        {"process": process, "table": table, "keys": keys, "state": state, "attempts": attempts, "error": error},
    )
    return {tuple(key): number for number, key in await noted.fetchall()}


async def delete(statements: Statements, ids: Iterable[int]) -> None:
    """Take notes out."""
    await statements.execute(f"DELETE FROM {SCHEMA}.notes WHERE id = ANY(%(ids)s)", {"ids": list(ids)})


async def leave(statements: Statements, ids: Iterable[int], state: State, attempts: int, error: str | None) -> set[int]:
    """Say what came of the writes or mirrors of notes; the ids of those that are there."""
    there = await statements.execute(
        f"UPDATE {SCHEMA}.notes SET state = %(state)s, attempts = %(attempts)s, last_error = %(error)s "
        "WHERE id = ANY(%(ids)s) RETURNING id",
        {"ids": list(ids), "state": state, "attempts": attempts, "error": error},
    )
    return {number for (number,) in await there.fetchall()}
