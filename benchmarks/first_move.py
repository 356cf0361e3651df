"""The way of the first move: offset pages of 1,000 rows decoded to objects, and upserts of 100 rows of VALUES.

    python -m benchmarks.first_move TABLE     with SUPABASE_URL, SUPABASE_KEY and DATABASE_URL; its key column is `id`

Prints how many rows came. Pages without an order may overlap, so that rows are lost: that, too, is as it was.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

_PAGE = 1000
_BATCH = 100


def move(table: str) -> int:
    """Page by page, batch by batch, each batch committed; returns the rows that came."""
    came = 0
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        documents = {
            name
            for (name,) in connection.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND table_name = %s AND data_type = 'jsonb'",
                [table],
            )
        }
        for page in _pages(table):
            came += len(page)
            for first in range(0, len(page), _BATCH):
                batch = page[first : first + _BATCH]
                names = tuple(batch[0])
                values = [
                    Jsonb(row[name]) if name in documents and row[name] is not None else row[name]
                    for row in batch
                    for name in names
                ]
                connection.execute(_upsert(table, names, len(batch)), values)
    return came


def _pages(table: str) -> Iterator[list[dict[str, Any]]]:
    key = os.environ["SUPABASE_KEY"]
    url = f"{os.environ['SUPABASE_URL']}/rest/v1/{table}"
    with httpx.Client(headers={"apikey": key, "Authorization": f"Bearer {key}"}, timeout=60) as client:
        offset = 0
        while True:
            parameters = {"select": "*", "limit": str(_PAGE), "offset": str(offset)}
            page = client.get(url, params=parameters).raise_for_status().json()
            if page:
                yield page
            if len(page) < _PAGE:
                return
            offset += _PAGE


@cache
def _upsert(table: str, names: tuple[str, ...], rows: int) -> bytes:
    columns = [sql.Identifier(name) for name in names]
    row = sql.SQL("({})").format(sql.SQL(", ").join(sql.Placeholder() for _ in names))
    changes = (sql.SQL("{0} = excluded.{0}").format(column) for column in columns if column != sql.Identifier("id"))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(columns),
        sql.SQL(", ").join(row for _ in range(rows)),
        sql.SQL(", ").join(changes),
    )
    return statement.as_bytes(None)


if __name__ == "__main__":
    print(move(sys.argv[1]))
