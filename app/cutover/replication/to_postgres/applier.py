"""Mirrors to PostgreSQL: the rows of some natural keys as Supabase has them now, text for text, or their deletion."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from app import models
from app.common.keys import Key
from app.common.schemas import DATA
from app.cutover.locks import HOLD_KEYS, SHARE_TABLE
from app.cutover.stages import Store
from app.errors import AuthorityMovedError, StoreError
from app.state.cutover.stage import share_stage
from app.state.fetching import Connection
from app.stores.codec.json_rows import encode
from app.stores.codec.rows import natural_key, table_of
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.table import SupabaseTable

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_SILENT = 5.0  # seconds beside those for a mirror, after which its process is cut off, or stopped
_GIVE_UP_LOCKS = "SELECT set_config('idle_in_transaction_session_timeout', %(milliseconds)s, true)"


class AuthorityUnreadError(Exception):
    """Supabase was not read, for the error that is the cause; nothing was written."""


class PostgresApplier:
    """Writes rows of the five tables that the data layer's methods write.

    Args:
        timeout: seconds for one mirror; the server takes its locks back when its process is silent for longer.
    """

    def __init__(self, rest: SupabaseRest, database: Database, *, timeout: float = 10.0) -> None:
        self._rest = rest
        self._database = database
        self._milliseconds = str(round((timeout + _SILENT) * 1000))

    async def mirror(
        self,
        model: type[models.Base],
        keys: Sequence[Key],
        settle: Callable[[Connection], Any] | None = None,
    ) -> None:
        """Make the target's rows of these keys those of Supabase, in one transaction.

        Others that mirror one of these keys are waited for; the rows are read after that, so that the last one
        writes the last state.

        Args:
            settle: called in the transaction, after the rows.

        Raises:
            AuthorityMovedError: the stage has moved, so Supabase is no longer to be copied from; nothing was written.
            AuthorityUnreadError: Supabase was not read.
            StoreError: PostgreSQL's; nothing was written, or (OutcomeUnknownError) all may have been.
        """
        table = table_of(model)
        texts = encode(keys)
        async with self._database.transaction() as transaction:
            await transaction.execute(_GIVE_UP_LOCKS, {"milliseconds": self._milliseconds})
            await transaction.execute(SHARE_TABLE, {"table": table.name})
            await transaction.execute(HOLD_KEYS, {"table": table.name, "keys": texts})
            try:
                records = await SupabaseTable(self._rest, model, tuple).of_keys(keys)
            except StoreError as error:
                raise AuthorityUnreadError(str(error)) from error
            # After the request, so that no move of the stage waits for Supabase. The authority has not been moved to
            # PostgreSQL and back meanwhile: both moves wait until no process has mirrors or notes.
            stage = await share_stage(transaction)
            self._database.mark.check(stage)
            if stage.managed and stage.stage.authority is not Store.SUPABASE:
                raise AuthorityMovedError(f"the cutover stands at {stage.stage}; Supabase is not copied from any more")
            rows = encode(records)
            await transaction.execute(_deletion(table), {"rows": rows, "keys": _named_keys(table, keys)})
            if records:
                await transaction.execute(_replacement(table), {"rows": rows})
            if settle is not None:
                await settle(transaction)


def _named_keys(table: Table, keys: Sequence[Key]) -> str:
    return encode([dict(zip(natural_key(table), key, strict=True)) for key in keys])


def _quoted(column: Column[Any]) -> str:
    return str(_DIALECT.identifier_preparer.quote_identifier(column.name))


def _type(column: Column[Any]) -> str:
    """The column's type without its length: a cast to varchar(50) would cut a text, where an assignment refuses it."""
    return re.sub(r"\([^)]*\)", "", column.type.compile(_DIALECT))


@lru_cache(maxsize=64)
def _deletion(table: Table) -> str:
    """Rows of the keys that Supabase lacks, or has under another id.

    The functions give typed columns: Citus takes no cast of a column to a date in a DELETE.
    """
    key = [table.c[name] for name in natural_key(table)]
    (id_column,) = table.primary_key
    same = " AND ".join(f"t.{_quoted(c)} = k.{_quoted(c)}" for c in key)
    given = ", ".join(f"{_quoted(c)} {_type(c)}" for c in key)
    kept = f"{_quoted(id_column)} {_type(id_column)}"
    return (
        f'DELETE FROM "{DATA}".{table.name} t USING json_to_recordset(CAST(%(keys)s AS json)) AS k ({given}) '  # noqa: S608
        f"WHERE {same} AND t.{_quoted(id_column)} NOT IN (SELECT x.{_quoted(id_column)} "
        f"FROM json_to_recordset(CAST(%(rows)s AS json)) AS x ({kept}))"
    )


@lru_cache(maxsize=64)
def _replacement(table: Table) -> str:
    """The rows as they are at Supabase, ids too."""
    columns = list(table.c)
    names = ", ".join(map(_quoted, columns))
    given = ", ".join(f"{_quoted(c)} text" for c in columns)
    values = ", ".join(f"CAST(x.{_quoted(c)} AS {_type(c)})" for c in columns)
    changed = ", ".join(f"{_quoted(c)} = excluded.{_quoted(c)}" for c in columns if not c.primary_key)
    return (
        f'INSERT INTO "{DATA}".{table.name} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} '  # noqa: S608
        f"FROM json_to_recordset(CAST(%(rows)s AS json)) AS x ({given}) ON CONFLICT (id) DO UPDATE SET {changed}"
    )
