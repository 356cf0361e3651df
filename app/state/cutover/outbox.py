"""Table `outbox`: natural keys that were written to PostgreSQL, until Supabase has their rows.

An entry is `unsure` while a send that covers it may be under way and may still land. The process that wrote it makes
the first send (`attempts` is 0 until then); every later one is the relay's, which claims the entry before it sends.
Where `keys` is a text, it is a JSON array of natural keys, each an array of texts.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from app.common.keys import Key
from app.cutover.stages import Stage
from app.state.cutover.stage import COLUMNS, READ_IN_TURN, StageRow
from app.state.fetching import Connection, fetch_column, fetch_each, fetch_rows, fetch_value
from app.state.json_keys import AMONG_KEYS
from app.state.schema_name import SCHEMA

LAST = 2**63 - 1  # an id that is above all
_RECORDING = [str(stage) for stage in Stage if stage.records]
_COLUMNS = "id, process, table_name, key, attempts, unsure, recheck_at IS NOT NULL"
_THEN = "clock_timestamp() + make_interval(secs => %(seconds)s)"
_OF_THESE = "(CAST(%(ids)s AS bigint[]) IS NULL OR id = ANY(CAST(%(ids)s AS bigint[])))"
# One statement, thus one round trip.
# Nothing is sent at complete, so that no send of an entry of that stage can be under way until it is claimed, and a new
# one takes the place of the key's older one: the outbox grows with the keys, not with the writes.
_RECORD_WRITE = (
    f"WITH stage AS MATERIALIZED ({READ_IN_TURN}), "
    "written AS MATERIALIZED ("
    "SELECT ARRAY(SELECT json_array_elements_text(k)) AS key, moved_at IS NOT NULL AND stage = 'complete' AS is_sure "
    "FROM stage, json_array_elements(CAST(%(keys)s AS json)) k WHERE finished_at IS NULL "
    "AND CASE WHEN moved_at IS NOT NULL THEN stage ELSE %(fixed)s END = ANY(%(recording)s)), "
    # By the index of keys, whatever the statistics say.
    f"replaced AS (DELETE FROM {SCHEMA}.outbox WHERE id = ANY(ARRAY("
    f"SELECT o.id FROM written w CROSS JOIN LATERAL (SELECT id FROM {SCHEMA}.outbox WHERE table_name = %(table)s "
    "AND key = w.key AND NOT unsure AND attempts = 0 FOR UPDATE SKIP LOCKED) o WHERE w.is_sure))), "
    f"recorded AS (INSERT INTO {SCHEMA}.outbox (process, table_name, key, unsure) "
    "SELECT %(process)s, %(table)s, key, NOT is_sure FROM written) "
    f"SELECT {COLUMNS} FROM stage"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `sent` says that it waits only to be read back."""

    id: int
    process: str
    table: str
    key: Key
    attempts: int
    unsure: bool
    sent: bool


@dataclass(frozen=True, slots=True)
class TableWaiting:
    """The entries of one table: all; of how many keys; those in error; those sent, which are to be read back.

    Attributes:
        oldest: seconds since the oldest was recorded.
    """

    table: str
    entries: int
    keys: int
    failed: int
    sent: int
    oldest: float


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry that Supabase did not take."""

    number: int
    table: str
    key: Key
    attempts: int
    error: str
    recorded_at: datetime
    next_attempt_at: datetime


async def record_write(connection: Connection, process: str, table: str, keys: str, *, fixed: Stage | None) -> StageRow:
    """Lock the stage until the transaction ends, and leave an entry for each key where writes are recorded.

    Args:
        fixed: the stage that the environment fixed, which holds while no command has moved the row.

    Raises:
        SchemaMismatchError: there is no row of the stage; nothing was recorded.
    """
    given = {"process": process, "table": table, "keys": keys, "fixed": fixed, "recording": _RECORDING}
    return StageRow.of(await (await connection.execute(_RECORD_WRITE, given)).fetchone())


async def entries_of(connection: Connection, table: str, keys: str) -> list[Entry]:
    """The entries of these keys, whosever they are."""
    return await fetch_each(
        connection,
        _entry,
        f"SELECT {_COLUMNS} FROM {SCHEMA}.outbox WHERE table_name = %(table)s AND {AMONG_KEYS}",
        {"table": table, "keys": keys},
    )


def _entry(id_: int, process: str, table: str, key: Iterable[str], attempts: int, unsure: bool, sent: bool) -> Entry:
    return Entry(id_, process, table, tuple(key), attempts, unsure, sent)


async def leave(connection: Connection, process: str, table: str, keys: str, *, except_for: Collection[int]) -> None:
    """Entries of a process whose first send was not begun, and will not be.

    Only those that no relay has claimed, even in this moment.
    """
    await connection.execute(
        f"UPDATE {SCHEMA}.outbox SET attempts = 1, unsure = false, last_error = 'Supabase is away', "
        "next_attempt_at = clock_timestamp() + interval '2 seconds' "
        "WHERE table_name = %(table)s AND process = %(process)s AND attempts = 0 "
        f"AND id <> ALL(CAST(%(except_for)s AS bigint[])) AND {AMONG_KEYS}",
        {"process": process, "table": table, "keys": keys, "except_for": list(except_for)},
    )


async def record(connection: Connection, process: str, keys: str) -> None:
    """Leave an entry for each pair of a table and a key, a JSON array of arrays; they are the relay's."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.outbox (process, table_name, key, attempts) "
        "SELECT %(process)s, k->>0, ARRAY(SELECT json_array_elements_text(k->1)), 1 "
        "FROM json_array_elements(CAST(%(keys)s AS json)) k",
        {"process": process, "keys": keys},
    )


async def delete(connection: Connection, ids: Collection[int]) -> None:
    """Take entries out."""
    if ids:
        await connection.execute(f"DELETE FROM {SCHEMA}.outbox WHERE id = ANY(%(ids)s)", {"ids": list(ids)})


async def settle_later(connection: Connection, ids: Collection[int], seconds: float) -> None:
    """Entries whose rows were sent, although an earlier send of theirs may still land: to be read back then."""
    to = (
        "recheck_at = later.later, next_attempt_at = later.later, last_error = NULL "
        f"FROM (SELECT {_THEN}) later (later)"
    )
    await _set(connection, ids, to, seconds=seconds)


async def put_off(
    connection: Connection,
    ids: Collection[int],
    *,
    unsure: bool,
    error: str | None,
    longest: float,
    counted: int = 0,
) -> None:
    """Entries that were not sent, or perhaps not, until later. The pause doubles with each attempt.

    Args:
        error: what was said, without values.
        longest: seconds until the next attempt, at most.
        counted: attempts to add.
    """
    to = (
        "attempts = attempts + %(counted)s, unsure = %(unsure)s, last_error = %(error)s, next_attempt_at = "
        "clock_timestamp() + make_interval(secs => least(%(longest)s, power(2, least(attempts + %(counted)s, 10))))"
    )
    await _set(connection, ids, to, unsure=unsure, error=error, longest=longest, counted=counted)


async def send_again(connection: Connection, ids: Collection[int]) -> None:
    """Entries that were read back and differ: nothing of theirs can land any more, and they are due."""
    await _set(connection, ids, "unsure = false, recheck_at = NULL, next_attempt_at = clock_timestamp()")


async def wait(connection: Connection, ids: Collection[int], seconds: float) -> None:
    """Entries that nothing is done with before then."""
    await _set(connection, ids, f"next_attempt_at = {_THEN}", seconds=seconds)


async def claim(connection: Connection, ids: Collection[int], seconds: float) -> None:
    """Say that a send of these entries is about to begin; nobody else begins one for so long."""
    await _set(connection, ids, f"attempts = attempts + 1, unsure = true, next_attempt_at = {_THEN}", seconds=seconds)


async def _set(connection: Connection, ids: Collection[int], to: str, **values: object) -> None:
    if ids:
        statement = f"UPDATE {SCHEMA}.outbox SET {to} WHERE id = ANY(%(ids)s)"
        await connection.execute(statement, {"ids": list(ids), **values})


async def due(connection: Connection, table: str, most: int, last: int = LAST) -> list[Entry]:
    """Entries up to an id whose time has come, locked; those that another relay has just locked are left out."""
    return await fetch_each(
        connection,
        _entry,
        f"SELECT {_COLUMNS} FROM {SCHEMA}.outbox "
        "WHERE next_attempt_at <= clock_timestamp() AND table_name = %(table)s AND id <= %(last)s "
        "ORDER BY next_attempt_at LIMIT %(most)s FOR UPDATE SKIP LOCKED",
        {"table": table, "most": most, "last": last},
    )


async def tables_due(connection: Connection, last: int = LAST) -> list[str]:
    """The tables that have such entries."""
    return await fetch_column(
        connection,
        f"SELECT DISTINCT table_name FROM (SELECT table_name FROM {SCHEMA}.outbox "
        "WHERE next_attempt_at <= clock_timestamp() AND id <= %(last)s ORDER BY next_attempt_at LIMIT 2000) due",
        {"last": last},
    )


async def last_id(connection: Connection) -> int:
    """The id of the newest entry; 0 where there is none."""
    return int(await fetch_value(connection, f"SELECT coalesce(max(id), 0) FROM {SCHEMA}.outbox"))


async def hurry(connection: Connection, last: int, ids: list[int] | None) -> None:
    """Make entries up to an id due, all or those of `ids`; none that is being sent: it is unsure meanwhile.

    One that a sender has locked is left to it: two that wait for each other's entries would be a deadlock.
    """
    await connection.execute(
        f"UPDATE {SCHEMA}.outbox SET next_attempt_at = clock_timestamp() "
        f"WHERE id IN (SELECT id FROM {SCHEMA}.outbox WHERE id <= %(last)s AND NOT unsure AND {_OF_THESE} "
        "FOR UPDATE SKIP LOCKED)",
        {"last": last, "ids": ids},
    )


async def those_there(connection: Connection, ids: Collection[int]) -> list[int]:
    """Those of the entries that are in the outbox."""
    query = f"SELECT id FROM {SCHEMA}.outbox WHERE id = ANY (%(ids)s) ORDER BY id"
    return await fetch_column(connection, query, {"ids": list(ids)})


async def count_to_do(connection: Connection, last: int, ids: list[int] | None) -> int:
    """Entries up to an id, of all or of `ids`, that were not tried yet, wait to be read back, or come soon."""
    count = await fetch_value(
        connection,
        f"SELECT count(*) FROM {SCHEMA}.outbox WHERE id <= %(last)s AND {_OF_THESE} AND (last_error IS NULL "
        "OR next_attempt_at <= clock_timestamp() "
        "OR unsure AND next_attempt_at < clock_timestamp() + interval '15 seconds')",
        {"last": last, "ids": ids},
    )
    return int(count)


async def waiting_tables(connection: Connection, last: int) -> tuple[TableWaiting, ...]:
    """The tables that have entries up to an id."""
    return tuple(
        await fetch_each(
            connection,
            TableWaiting,
            "SELECT table_name, count(*), count(DISTINCT key), count(last_error), count(recheck_at), "
            f"EXTRACT(epoch FROM clock_timestamp() - min(recorded_at))::double precision FROM {SCHEMA}.outbox "
            "WHERE id <= %(last)s GROUP BY table_name ORDER BY table_name",
            {"last": last},
        )
    )


async def failed_entries(connection: Connection, last: int, most: int | None = None) -> tuple[FailedEntry, ...]:
    """The first entries up to an id that Supabase did not take: so many at most, or all."""
    rows = await fetch_rows(
        connection,
        "SELECT id, table_name, key, attempts, last_error, recorded_at, next_attempt_at "
        f"FROM {SCHEMA}.outbox WHERE id <= %(last)s AND last_error IS NOT NULL ORDER BY id LIMIT %(most)s",
        {"last": last, "most": most},
    )
    return tuple(FailedEntry(number, table, tuple(key), *rest) for number, table, key, *rest in rows)
