"""Tables `digest_key` and `digests`: the key of the hashes of `botdata report`, and the last digests of each table.

The key never leaves the target: statements read it there. Only the owner of the schema may read it.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import AsyncConnection, sql

from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA
from app.state.tool_schema import may_read

BUCKETS = 256
Side = Literal["source", "target"]
_KEY = sql.Identifier(SCHEMA, "digest_key")
_WORDS = 4  # of a hash's 256 bits, each 64
_BLOCK = hashlib.sha256().block_size


@dataclass(frozen=True, slots=True)
class Bucket:
    """Rows of a bucket, and the sum of their hashes modulo 2 to the power of 256."""

    rows: int
    total: int


Buckets = Mapping[int, Bucket]


@dataclass(frozen=True, slots=True)
class KeptDigest:
    """A side of a table as it was hashed.

    Attributes:
        source: the label of the source, of either side; None: the target alone was hashed.
        made_at: when it began, by the target's clock: ISO 8601, in UTC.
        columns: names of the columns that were hashed, sorted.
        counted: rows as the side itself counted them afterwards; None: it could not count them.
    """

    table: str
    side: Side
    source: str | None
    made_at: str
    columns: tuple[str, ...]
    counted: int | None
    buckets: Buckets

    @property
    def rows(self) -> int:
        """Rows that were hashed."""
        return sum(bucket.rows for bucket in self.buckets.values())

    @property
    def total(self) -> int:
        """The sum of all rows' hashes modulo 2 to the power of 256."""
        return sum(bucket.total for bucket in self.buckets.values()) % 2**256


async def ensure_key(connection: AsyncConnection) -> str:
    """Make the key, if there is none; returns its name, which tells nothing of it.

    Raises:
        psycopg.Error: the role is not the owner of the schema.
    """
    key = secrets.token_bytes(_BLOCK)  # HMAC (RFC 2104) with a key as long as a block: no hashing, no padding
    await connection.execute(
        f"INSERT INTO {SCHEMA}.digest_key (name, inner_pad, outer_pad) VALUES (%(name)s, %(inner)s, %(outer)s) "
        "ON CONFLICT (id) DO NOTHING",
        {
            "name": secrets.token_hex(8),
            "inner": bytes(byte ^ 0x36 for byte in key),
            "outer": bytes(byte ^ 0x5C for byte in key),
        },
    )
    return str(await fetch_value(connection, f"SELECT name FROM {SCHEMA}.digest_key"))


async def key_name(connection: AsyncConnection) -> str | None:
    """The name of the key; None where there is none, or the role may not read it."""
    if not await may_read(connection, "digest_key"):
        return None
    name: str | None = await fetch_value(connection, f"SELECT name FROM {SCHEMA}.digest_key")
    return name


def bucket_sums(table: str, texts: sql.Composable) -> sql.Composed:
    """Rows of: a bucket's number, its count of rows, and of each word of a hash the sum, and how many are below 0.

    Args:
        table: the table's label, which is hashed too, so that equal rows of two tables do not show.
        texts: a query for `k` and `r`, the texts of a row's key and of the row.
    """

    def hmac(kind: str, name: str) -> sql.Composed:
        return sql.SQL("sha256(p.outer_pad || sha256(p.inner_pad || convert_to({} || t.{}, 'UTF8')))").format(
            sql.Literal(f"{kind} {table}\n"), sql.Identifier(name)
        )

    words = [
        sql.SQL("('x' || encode(substr(r, {}, 8), 'hex'))::bit(64)::bigint AS {}").format(
            sql.Literal(8 * number + 1), sql.Identifier(f"w{number}")
        )
        for number in range(_WORDS)
    ]
    sums = [
        sql.SQL("sum({0}), count(*) FILTER (WHERE {0} < 0)").format(sql.Identifier(f"w{number}"))
        for number in range(_WORDS)
    ]
    # OFFSET 0 keeps the planner from putting a hash in wherever its name stands, and computing it as often.
    return sql.SQL(
        "SELECT bucket, count(*), {sums} FROM (SELECT get_byte(k, 0) AS bucket, {words} FROM "
        "(SELECT {key} AS k, {row} AS r FROM ({texts}) t CROSS JOIN {pads} p OFFSET 0) h OFFSET 0) w GROUP BY bucket"
    ).format(
        sums=sql.SQL(", ").join(sums),
        words=sql.SQL(", ").join(words),
        key=hmac("key", "k"),
        row=hmac("row", "r"),
        texts=texts,
        pads=_KEY,
    )


def read_sums(rows: Sequence[Sequence[int]]) -> dict[int, Bucket]:
    """The buckets that `bucket_sums` gave."""
    found = {}
    for number, count, *words in rows:
        total = 0
        for signed, below in zip(words[::2], words[1::2], strict=True):
            total = (total << 64) + int(signed) + (below << 64)
        found[number] = Bucket(count, total % 2**256)
    return found


def add(one: Buckets, other: Buckets) -> dict[int, Bucket]:
    """The buckets of both together."""
    added = dict(one)
    for number, bucket in other.items():
        before = added.get(number, Bucket(0, 0))
        added[number] = Bucket(before.rows + bucket.rows, (before.total + bucket.total) % 2**256)
    return added


async def keep_digest(connection: AsyncConnection, digest: KeptDigest) -> None:
    """Keep a digest in place of the one before."""
    written = {str(number): [bucket.rows, f"{bucket.total:064x}"] for number, bucket in digest.buckets.items()}
    await connection.execute(
        f"INSERT INTO {SCHEMA}.digests (table_name, side, source, made_at, columns, counted, buckets) VALUES "
        "(%(table)s, %(side)s, %(source)s, %(made_at)s::timestamptz, %(columns)s, %(counted)s, %(buckets)s::json) "
        "ON CONFLICT (table_name, side) DO UPDATE SET source = excluded.source, made_at = excluded.made_at, "
        "columns = excluded.columns, counted = excluded.counted, buckets = excluded.buckets",
        {
            "table": digest.table,
            "side": digest.side,
            "source": digest.source,
            "made_at": digest.made_at,
            "columns": list(digest.columns),
            "counted": digest.counted,
            "buckets": json.dumps(written),
        },
    )


async def kept_digests(connection: AsyncConnection) -> dict[tuple[str, Side], KeptDigest]:
    """The last digests, by table and side."""
    rows = await fetch_rows(
        connection,
        "SELECT table_name, side, source, to_char(made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
        f"columns, counted, buckets FROM {SCHEMA}.digests",
    )
    return {
        (table, side): KeptDigest(
            table,
            side,
            source,
            made_at,
            tuple(columns),
            counted,
            {int(number): Bucket(count, int(total, 16)) for number, (count, total) in buckets.items()},
        )
        for table, side, source, made_at, columns, counted, buckets in rows
    }
