"""One table behind PostgREST: its rows asked for as text and decoded exactly, whole lists whatever the row cap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from sqlalchemy import Table

from app import models
from app.common.keys import Key
from app.errors import AmbiguousError, StoreError, UnavailableError
from app.stores.codec.rows import key_of, natural_key, table_of
from app.stores.codec.text_values import RowDecoder
from app.stores.supabase.answers import records_of, refuse_other_columns, total_told
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import alias, as_text, in_list, key_parts
from app.stores.supabase.request_parameters import address_length

if TYPE_CHECKING:
    import httpx

R = TypeVar("R")  # the row type
# A request on the table, narrowed by filters: called anew for each page, since the client's builders change in place.
Narrow = Callable[[Any], Any]
# A row's values as PostgreSQL's text, by column.
Record = dict[str, str | None]
_COUNTED = {"Prefer": "count=exact"}  # tells whether a page is the last, which its length does not: there may be a cap


def equal(**values: Any) -> Narrow:
    """Narrows a request to rows with these values; None leaves a column out."""

    def narrow(builder: Any) -> Any:
        for name, value in values.items():
            if isinstance(value, str):
                builder = builder.filter(name, "in", in_list([value]))  # the operator whose operand can be quoted
            elif value is not None:
                builder = builder.eq(name, value)
        return builder

    return narrow


class SupabaseTable(Generic[R]):
    """Reads a model's rows.

    Args:
        row: the rows' type, a named tuple of the columns' values.
        columns: names, where not all columns are wanted; the primary key must be the first.
    """

    def __init__(
        self,
        rest: SupabaseRest,
        model: type[models.Base],
        row: type[R],
        columns: Sequence[str] | None = None,
    ) -> None:
        self.rest = rest
        self.model = model
        self.table: Table = table_of(model)
        self.columns = list(columns or self.table.c.keys())
        self._row = row
        self.select_list = as_text(self.columns)

    @cached_property
    def _decoder(self) -> RowDecoder:
        return RowDecoder([self.table.c[name] for name in self.columns])

    def of_columns(self, columns: Sequence[str]) -> SupabaseTable[Any]:
        """The same table with some of its columns only, rows as tuples."""
        return SupabaseTable(self.rest, self.model, tuple, columns)

    async def one(self, narrow: Narrow, message: str) -> R | None:
        """The only row, or None; AmbiguousError with `message` when there are several."""
        response = await self.rest.respond(narrow(self._selected()).limit(2), headers=_COUNTED)
        rows, count = self.rows(response), total_told(response.headers) or 0
        if max(len(rows), count) > 1:  # the count, too: a row cap may be 1
            raise AmbiguousError(message)
        _refuse_fewer(len(rows), count)
        return rows[0] if rows else None

    async def whole(self, narrow: Narrow) -> list[R]:
        """Every row, by primary key."""
        return self.decoded(await self.whole_as_text(narrow))

    async def whole_as_text(self, narrow: Narrow) -> list[Record]:
        """Every row's values as PostgreSQL's text, by primary key, page after page until none is left.

        Raises:
            UnavailableError: there were fewer rows than Supabase counted; asked again, it may give them.
        """
        found: list[Record] = []
        counted = 0
        while True:
            builder = narrow(self._selected())
            if found:
                builder = builder.gt("id", found[-1]["id"])
            response = await self.rest.respond(builder.order("id"), headers=_COUNTED)
            page = self._records(response)
            counted = max(counted, len(found) + (total_told(response.headers) or 0))
            found += page
            if not page or total_told(response.headers) == len(page):
                _refuse_fewer(len(found), counted)
                return found

    async def of_keys(self, keys: Iterable[Key]) -> list[Record]:
        """Every row of some natural keys, as `whole_as_text`, in as many requests as their addresses need.

        Raises:
            StoreError: Supabase writes a key in another form than it was asked by, as a date by another DateStyle: its
                row would be taken for one that is not there.
        """
        names = natural_key(self.table)
        wanted = set(keys)
        found: list[Record] = []
        for part in key_parts(wanted, self.address_length()):
            members = [set(texts) for texts in zip(*part, strict=True)]

            def narrow(builder: Any, members: Sequence[set[str]] = members) -> Any:
                for name, texts in zip(names, members, strict=True):
                    builder = builder.filter(name, "in", in_list(sorted(texts)))
                return builder

            # The lists admit every combination of their members.
            for record in await self.whole_as_text(narrow):
                key = key_of(self.table, record)
                if key in wanted:
                    found.append(record)
                elif not all(text in texts for text, texts in zip(key, members, strict=True)):
                    raise StoreError(
                        f"Supabase writes keys of {self.table.name} in another form: look at its DateStyle"
                    )
        return found

    def address_length(self, narrow: Narrow = lambda builder: builder) -> int:
        """Bytes of the address of a request with these filters."""
        return address_length(narrow(self._selected()))

    async def first(self, narrow: Narrow, order: Sequence[tuple[str, bool]], limit: int) -> list[R]:
        """The first rows in an order that the server can be asked for: (column, descending), NULL last, then by id."""
        return self.decoded(await self.first_as_text(narrow, order, limit))

    async def first_as_text(self, narrow: Narrow, order: Sequence[tuple[str, bool]], limit: int) -> list[Record]:
        """The values of the first rows as PostgreSQL's text.

        Raises:
            UnavailableError: as `whole_as_text`; or rows came or went between two pages, so that one may be on both or
                on none of them.
        """
        found: list[Record] = []
        counted: int | None = None
        while len(found) < limit:
            builder = narrow(self._selected())
            for name, descending in order:
                builder = builder.order(name, desc=descending, nullsfirst=False)
            builder = builder.order("id").limit(limit - len(found))
            builder = builder.offset(len(found)) if found else builder
            response = await self.rest.respond(builder, headers=_COUNTED)
            page, total = self._records(response), total_told(response.headers)
            if None not in {counted, total} and counted != total:
                raise UnavailableError("rows came or went between two pages of Supabase's answer")
            counted = counted if total is None else total
            found += page
            if not page or total == len(found):
                _refuse_fewer(len(found), min(counted or 0, limit))
                break
        if len({record[self.columns[0]] for record in found}) < len(found):
            raise UnavailableError("Supabase gave a row on two pages")
        return found[:limit]

    def rows(self, response: httpx.Response) -> list[R]:
        """The rows of a response's body."""
        return self.decoded(self._records(response))

    def decoded(self, records: Sequence[Record]) -> list[R]:
        """The rows of records; UnrepresentableValueError for the first value that Python cannot hold."""
        make: Callable[[Any], R] = cast("Any", self._row)._make
        return [make(self._decoder.decode(record)) for record in records]

    def _records(self, response: httpx.Response) -> list[Record]:
        body = records_of(response)
        if response.request.method == "GET":
            refuse_other_columns(body, {alias(position) for position in range(len(self.columns))})
        aliases = [(name, alias(position)) for position, name in enumerate(self.columns)]
        try:
            records = [{name: record[alias] for name, alias in aliases} for record in body]
        except (KeyError, TypeError) as error:
            raise StoreError("Supabase's answer does not hold the columns asked for") from error
        if not all(value is None or isinstance(value, str) for record in records for value in record.values()):
            raise StoreError("Supabase's answer does not hold the columns as text")
        return records

    def _selected(self) -> Any:
        return self.rest.table(self.table.name).select(self.select_list)


def _refuse_fewer(rows: int, counted: int) -> None:
    if rows < counted:
        raise UnavailableError("Supabase gave fewer rows than it counted")
