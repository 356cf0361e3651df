"""Pages of rows as sources send them: how large to ask for, and what is read of one."""

import json
from collections.abc import Set
from typing import Any

from app.common.keys import Key
from app.errors import StoreError, UnavailableError
from app.migration.retry import Limits
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable
from app.stores.supabase.client import refuse_other_columns
from app.stores.supabase.grammar import alias


class PageSize:
    """How many rows to ask for: grows toward the limits with what pages turned out to weigh, shrinks on trouble."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = limits.page_rows
        self.rows = min(200, limits.page_rows)

    @property
    def most_bytes(self) -> int:
        """Bytes past which a page is asked for again in halves; a single row may have any size."""
        return 2 * self._limits.page_bytes if self.rows > 1 else 2**62

    def too_slow(self) -> None:
        """Ask for half as many rows from now on."""
        self.rows = self._most = max(1, self.rows // 2)

    def too_heavy(self) -> None:
        """Ask for half as many rows next; those after them may be lighter again."""
        self.rows = max(1, self.rows // 2)

    def learn(self, page: Page) -> None:
        """Fit the next page to the bytes a row of this one took."""
        fitting = int(self._limits.page_bytes * page.rows / len(page.body))
        self.rows = max(1, min(self._most, fitting, 8 * self.rows))


def read_page(body: bytes, table: CopyTable, wanted: Set[str] | None = None) -> Page | None:
    """Count a page's rows and read its last key, without decoding the rest; None for an empty page.

    Args:
        wanted: the names that the rows are to have, where the source may answer something else.

    A record begins with `{"_0":"`, and that sequence cannot occur inside a JSON string: there a quote is escaped.

    Raises:
        UnavailableError: cut short, written by something other than PostgREST, or of other columns; likely to pass.
    """
    if not (body.lstrip().startswith(b"[") and body.rstrip().endswith(b"]")):
        raise UnavailableError("Supabase answered with something that is not a JSON array of rows")
    begin = f'{{"{alias(0)}":"'.encode()
    rows = body.count(begin)
    if rows:
        try:
            last = json.loads(body[body.rindex(begin) : body.rindex(b"]")])
        except ValueError:
            pass  # not written as PostgREST writes it: decode it whole
        else:
            refuse_other_columns([last], wanted)
            return Page(body, rows, key_of(last, table))
    records = records_of(body)
    refuse_other_columns(records, wanted)
    return Page(body, len(records), key_of(records[-1], table)) if records else None


def key_of(record: dict[str, Any], table: CopyTable) -> Key:
    """The primary key of a decoded row of a page; StoreError where it is not there."""
    try:
        return tuple(record[alias(position)] for position in range(table.key_size))
    except (KeyError, TypeError):
        raise StoreError("Supabase answered with rows that lack the columns asked for") from None


def records_of(body: bytes) -> list[dict[str, Any]]:
    """The rows of a page, decoded; UnavailableError where it is no JSON array."""
    try:
        records = json.loads(body)
    except ValueError as error:
        raise UnavailableError("Supabase answered with something that is not JSON") from error
    if not isinstance(records, list):
        raise UnavailableError("Supabase answered with something that is not a JSON array of rows")
    return records
