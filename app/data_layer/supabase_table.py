"""One table behind PostgREST: its rows asked for as text and decoded exactly, whole lists whatever the row cap."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table

from app import models
from app.errors import AmbiguousError, StoreError, UnavailableError
from app.rest import SupabaseRest, quoted_name
from app.rows import table_of
from app.text_values import RowDecoder

if TYPE_CHECKING:
    import httpx

# A request on the table, narrowed by filters: called anew for each page, since the client's builders change in place.
Narrow = Callable[[Any], Any]


class SupabaseTable:
    """Reads a model's rows.

    Args:
        make: makes a row of its values, by default of all columns in their order.
        columns: names, where not all columns are wanted; the primary key must be the first.
    """

    def __init__(
        self,
        rest: SupabaseRest,
        model: type[models.Base],
        make: Callable[[Any], Any],
        columns: Sequence[str] | None = None,
    ) -> None:
        self.rest = rest
        self.table: Table = table_of(model)
        self.columns = list(columns or self.table.c.keys())
        self._make = make
        # An alias for each: some servers take `order=id` beside `id::text` for an order by that text.
        self.select_list = ",".join(f"_{name}:{quoted_name(name)}::text" for name in self.columns)

    @cached_property
    def _decoder(self) -> RowDecoder:
        return RowDecoder([self.table.c[name] for name in self.columns])

    async def one(self, narrow: Narrow, message: str) -> Any:
        """The only row, or None; AmbiguousError with `message` when there are several."""
        rows, _ = await self._page(narrow(self._selected()).limit(2))
        if len(rows) > 1:
            raise AmbiguousError(message)
        return rows[0] if rows else None

    async def whole(self, narrow: Narrow) -> list[Any]:
        """Every row, by primary key, page after page."""
        found: list[Any] = []
        after: Any = None
        while True:
            builder = narrow(self._selected())
            if after is not None:
                builder = builder.gt("id", after)
            rows, in_all = await self._page(builder.order("id"), counted=True)
            found += rows
            if not rows or in_all == len(rows):
                return found
            after = rows[-1].id

    async def first(self, narrow: Narrow, order: Sequence[tuple[str, bool]], limit: int) -> list[Any]:
        """The first rows in an order that the server can be asked for: (column, descending), NULL last, then by id."""
        found: list[Any] = []
        while len(found) < limit:
            builder = narrow(self._selected())
            for name, descending in order:
                builder = builder.order(name, desc=descending, nullsfirst=False)
            builder = builder.order("id").limit(limit - len(found))
            rows, _ = await self._page(builder.offset(len(found)) if found else builder)
            if not rows:
                break
            found += rows
        return found[:limit]

    def rows(self, response: httpx.Response) -> list[Any]:
        """The rows of a response's body."""
        records = json_list(response)
        try:
            values = [{name: record[f"_{name}"] for name in self.columns} for record in records]
            return [self._make(self._decoder.decode(record)) for record in values]
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError("Supabase's answer does not hold the columns asked for") from error

    def _selected(self) -> Any:
        return self.rest.table(self.table.name).select(self.select_list)

    async def _page(self, builder: Any, *, counted: bool = False) -> tuple[list[Any], int | None]:
        """The rows of one request and, where asked for, how many rows match in all."""
        response = await self.rest.respond(builder, headers={"Prefer": "count=exact"} if counted else None)
        return self.rows(response), _count(response)


def json_list(response: httpx.Response, *, writing: bool = False) -> list[dict[str, Any]]:
    """The JSON list in a response's body."""
    try:
        records = json.loads(response.content)
    except ValueError as error:
        raise UnavailableError("Supabase answered with something that is not JSON") from error
    if not isinstance(records, list):
        raise StoreError("Supabase answered with something that is not a list of rows")
    return records


def _count(response: httpx.Response) -> int | None:
    """The last part of Content-Range: `0-6/10`, or `*` where the server did not count."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None
