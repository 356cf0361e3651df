"""Change streams: how far the target has applied one, written in the transaction that applies it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Json

from app.state.fetching import Connection, fetch_each, fetch_value
from app.state.schema_name import SCHEMA


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream.

    Attributes:
        name: of the slot and the publication at the source.
        source: its label.
        server: what tells the source's server and timeline from others.
        publication: what tells the publication from one that was altered since.
        tables: those that it follows, each with a fingerprint of the source's catalog.
        lsn: every transaction whose commit record begins before it is applied.
        settled_lsn: from it on no change is older than a row that was read; None: a sync by xmin is still to come.
        commit_lsn: where the commit record of the last transaction that was applied begins; None: there was none.
        committed_at: when it was committed, by the source's clock.
        applied_at: when that was, by the target's.
        changes: rows changed by it since it was begun.
        lag: seconds from a commit at the source to its own in the target, the longest of the last batch.
        held, to_come: bytes of the source's log that it keeps for the slot, and that are not applied, at the last look.
        look_age: seconds since the sync last looked at the slot; None: it has not.
        reverse: it goes from the target back to the source, and its slot and its log are the target's.
    """

    name: str
    source: str
    server: str
    publication: str
    tables: Mapping[str, str]
    lsn: str
    settled_lsn: str | None
    commit_lsn: str | None
    committed_at: datetime | None
    applied_at: datetime | None
    changes: int
    lag: float | None
    held: int | None
    to_come: int | None
    look_age: float | None
    reverse: bool

    @property
    def document(self) -> dict[str, Any]:
        """All that is shown of it, for the documents of `--json` and the report."""
        return {
            "name": self.name,
            "reverse": self.reverse,
            "source": self.source,
            "lsn": self.lsn,
            "settled": self.settled_lsn is not None,
            "changes": self.changes,
            "committed_at": _moment(self.committed_at),
            "applied_at": _moment(self.applied_at),
            "lag": None if self.lag is None else round(self.lag, 3),
            "held_bytes": self.held,
            "behind_bytes": self.to_come,
            "look_age": None if self.look_age is None else round(self.look_age, 1),
        }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


async def read_streams(
    connection: AsyncConnection, name: str | None = None, *, reverse: bool | None = False
) -> list[Stream]:
    """All streams into this target (or, `reverse`, from it back; None: both), or the one of a name."""
    return await fetch_each(
        connection,
        Stream,
        "SELECT name, source, server, publication, tables, lsn::text, settled_lsn::text, commit_lsn::text, "
        "committed_at, applied_at, changes, lag, held, to_come, "
        f"extract(epoch FROM clock_timestamp() - weighed_at)::float8, reverse FROM {SCHEMA}.streams "
        "WHERE (%(reverse)s::boolean IS NULL OR reverse = %(reverse)s) "
        "AND (%(name)s::text IS NULL OR name = %(name)s) ORDER BY reverse, name",
        {"name": name, "reverse": reverse},
    )


async def begin_stream(
    connection: AsyncConnection,
    *,
    name: str,
    source: str,
    server: str,
    publication: str,
    tables: Mapping[str, str],
    lsn: str,
    reverse: bool = False,
) -> None:
    """Note a stream that is begun, or begun anew: a sync by xmin is still to come."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.streams (name, source, server, publication, tables, lsn, reverse) "
        "VALUES (%(name)s, %(source)s, %(server)s, %(publication)s, %(tables)s, %(lsn)s, %(reverse)s) "
        "ON CONFLICT (name) DO UPDATE SET source = excluded.source, server = excluded.server, "
        "publication = excluded.publication, tables = excluded.tables, lsn = excluded.lsn, settled_lsn = NULL, "
        "commit_lsn = NULL, looked_at = NULL, looked_lsn = NULL",
        {
            "name": name,
            "source": source,
            "server": server,
            "publication": publication,
            "tables": Json(dict(tables)),
            "lsn": lsn,
            "reverse": reverse,
        },
    )


async def keep_tables(connection: AsyncConnection, name: str, tables: Mapping[str, str]) -> None:
    """Note the fingerprints of now, where nothing in them tells of other rows."""
    await connection.execute(
        f"UPDATE {SCHEMA}.streams SET tables = %(tables)s WHERE name = %(name)s",
        {"name": name, "tables": Json(dict(tables))},
    )


async def settle_stream(connection: AsyncConnection, name: str, lsn: str) -> None:
    """Rows were read up to this LSN at the latest: until then changes may be older than they are."""
    await connection.execute(
        f"UPDATE {SCHEMA}.streams SET settled_lsn = greatest(settled_lsn, %(lsn)s::pg_lsn) WHERE name = %(name)s",
        {"name": name, "lsn": lsn},
    )


async def unsettle_stream(connection: AsyncConnection, name: str) -> None:
    """Rows are left behind, so that the next start makes a sync by xmin."""
    await connection.execute(f"UPDATE {SCHEMA}.streams SET settled_lsn = NULL WHERE name = %(name)s", {"name": name})


async def note_applied(
    connection: AsyncConnection,
    name: str,
    lsn: str,
    *,
    commit_lsn: str | None = None,
    committed_at: datetime | None = None,
    changes: int = 0,
    lag: float | None = None,
) -> None:
    """In the transaction that applies changes: everything before this LSN is applied with it.

    Args:
        commit_lsn, committed_at: of the last of its transactions; None: there was none.
        lag: seconds since the first of them was committed; None: there was none.
    """
    await connection.execute(
        f"UPDATE {SCHEMA}.streams SET lsn = %(lsn)s, changes = changes + %(changes)s, applied_at = clock_timestamp(), "
        "commit_lsn = coalesce(%(commit)s::pg_lsn, commit_lsn), committed_at = coalesce(%(committed)s, committed_at), "
        "lag = coalesce(%(lag)s, lag) WHERE name = %(name)s",
        {"name": name, "lsn": lsn, "changes": changes, "commit": commit_lsn, "committed": committed_at, "lag": lag},
    )


async def note_weighed(connection: AsyncConnection, name: str, *, held: int | None, to_come: int) -> None:
    """What was just seen of the slot: bytes of the source's log that it keeps for it, and that are not applied yet."""
    await connection.execute(
        f"UPDATE {SCHEMA}.streams SET held = %(held)s, to_come = %(to_come)s, weighed_at = clock_timestamp() "
        "WHERE name = %(name)s",
        {"name": name, "held": held, "to_come": to_come},
    )


async def note_look(connection: AsyncConnection, name: str, looked_at: datetime, lsn: str) -> None:
    """All that the source had committed at a moment, by the target's clock, is in the target.

    Args:
        lsn: where the source's log ended after that moment.
    """
    await connection.execute(
        f"UPDATE {SCHEMA}.streams SET looked_at = %(at)s, looked_lsn = %(lsn)s WHERE name = %(name)s",
        {"name": name, "at": looked_at, "lsn": lsn},
    )


@dataclass(frozen=True, slots=True)
class StreamLook:
    """The last look of a stream.

    Attributes:
        looked_at: all that the source had committed then is in the target; None: there was no look yet.
        age: seconds since then.
        lsn: up to where the target has applied it.
    """

    name: str
    looked_at: datetime | None
    age: float | None
    lsn: str

    def told(self) -> str:
        """How far it is, in words."""
        when = "it has not caught up yet" if self.age is None else f"it last had all of {self.age:,.0f} s ago"
        return f"the change stream {self.name} stands at {self.lsn}: {when}"


async def read_looks(connection: AsyncConnection, tables: Collection[str]) -> list[StreamLook]:
    """The last looks of the streams that follow any of these tables."""
    return await fetch_each(
        connection,
        StreamLook,
        "SELECT name, looked_at, extract(epoch FROM clock_timestamp() - looked_at)::float8, lsn::text "
        f"FROM {SCHEMA}.streams WHERE NOT reverse "
        "AND EXISTS (SELECT FROM json_object_keys(tables) k WHERE k = ANY (%(tables)s)) ORDER BY name",
        {"tables": list(tables)},
    )


async def clock(connection: Connection) -> datetime:
    """The target's clock, by which looks are told."""
    moment: datetime = await fetch_value(connection, "SELECT clock_timestamp()")
    return moment


async def forget_stream(connection: AsyncConnection, name: str) -> None:
    """Forget how far it was."""
    await connection.execute(f"DELETE FROM {SCHEMA}.streams WHERE name = %(name)s", {"name": name})
