"""What all repositories share: rows from a statement, and upserts by natural key."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import (
    JSON,
    BindParameter,
    Column,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert

from app import models
from app.common.driver_errors import without_values
from app.errors import (
    AmbiguousError,
    DuplicateInBatchError,
    InvalidArgumentError,
    StoreError,
    UnrepresentableValueError,
)
from app.stores.codec.json_rows import by_shape, encode, in_key_order
from app.stores.codec.rows import key_of, natural_key, table_of
from app.stores.codec.text_values import RowDecoder
from app.stores.postgres.database import Database, Statements
from app.stores.postgres.translated_errors import UNREADABLE, UnreadableError, translated_errors
from app.stores.standbys.read_router import ReadRouter

R = TypeVar("R")  # the row type
_ROWS = bindparam("rows", type_=Text())
_UNREADABLE = (UnreadableError, *UNREADABLE)
_NO_JSON = (TypeError, ValueError, RecursionError)


class Repository(Generic[R]):
    """Statements on one model's table.

    Subclasses name the model and its row type from `app.stores.codec.rows`.

    Args:
        source: a connection that the caller opens and, after a write, commits; or a database, or the way to standbys,
            for reads of a statement each.
    """

    model: ClassVar[type[models.Base]]
    row: ClassVar[Any]

    def __init__(self, source: Statements | Database | ReadRouter) -> None:
        self._source = source

    async def _rows(
        self,
        statement: Select[Any],
        parameters: Mapping[str, object] | None = None,
        make: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """The rows of a statement that is kept, each made by `make` (by default the model's row type)."""
        try:
            rows = await self._source.fetch(statement, parameters)
        except _UNREADABLE as error:
            await self._name_unreadable(statement, error, parameters)
            raise
        return list(map(make or self.row._make, rows))

    async def _one(self, message: str, **equal: object) -> R | None:
        """The only row with these values, or None; AmbiguousError with `message` when there are several.

        None among the values equals nothing, as in SQL; see `given` for filters that may be left out.
        """
        rows = await self._rows(_lookup(table_of(self.model), tuple(equal)), equal)
        if len(rows) > 1:
            raise AmbiguousError(message)
        return rows[0] if rows else None

    async def _name_unreadable(
        self, statement: Select[Any], error: Exception, parameters: Mapping[str, object] | None = None
    ) -> None:
        """Read again as text, and raise UnrepresentableValueError for the first value that Python cannot hold."""
        if getattr(error, "sqlstate", None) is not None:
            return  # the server's own error, not psycopg's
        table = table_of(self.model)
        columns = [c for c in statement.selected_columns if isinstance(c, Column) and c.table is table]
        as_text: Any = statement.with_only_columns(*[cast(c, Text).label(c.name) for c in columns])
        decoder = RowDecoder(columns)
        names = [c.name for c in columns]
        for row in await self._source.fetch_text(as_text, parameters):
            try:
                decoder.decode(dict(zip(names, row, strict=True)))
            except UnrepresentableValueError as named:
                raise named from without_values(error)


class WritingRepository(Repository[R]):
    """A repository whose table is written to, by its natural key."""

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[R]:
        """Write the given columns of each row by the natural key, and return the whole rows in the order given.

        Rows of one shape are one statement. Values are of the columns' Python types. Two batches of several shapes at
        once may want each other's rows: one of them is rolled back then (SQLSTATE 40P01) and can be written again.

        Raises:
            InvalidArgumentError: the column `field` of the row `index`; nothing was sent.
            UnrepresentableValueError: written, but the stored row cannot be returned; commit to keep the write.
            AuthorityMovedError: a cutover says that this is not the store to write to.
            StoreError: one of its kinds; nothing may be committed then.
        """
        connection = self._source
        if not isinstance(connection, Statements):
            raise TypeError("a write needs a unit of work")
        table = table_of(self.model)
        key = natural_key(table)
        values_of = itemgetter(*key)
        _check(table, rows)
        shapes = by_shape(table, in_key_order(table, rows))
        bodies = {names: _body(members, rows) for names, members in shapes.items()}
        with translated_errors(writing=True, driver=connection.driver):
            await connection.guard.enter(connection, table.name, [key_of(table, row) for row in rows])
            stored = await self._written(connection, table, shapes, bodies)
        try:
            return [stored[values_of(row)] for row in rows]
        except KeyError:
            raise StoreError(f"{table.name}: a row that was written did not come back") from None

    async def _written(
        self, connection: Statements, table: Table, shapes: Mapping[Any, Any], bodies: Mapping[Any, str]
    ) -> dict[Any, Any]:
        """The rows of each shape, written, by their natural keys."""
        stored: dict[Any, Any] = {}
        unreadable: UnrepresentableValueError | None = None
        for names, members in shapes.items():
            try:
                rows = await connection.fetch(_upsert_statement(table, names), {"rows": bodies[names]})
            except _UNREADABLE as error:
                unreadable = await self._unreadable_written(members, error)
                continue  # the other shapes are to be written all the same
            position = itemgetter(*[table.c.keys().index(name) for name in natural_key(table)])
            for written in rows:
                stored[position(written)] = self.row._make(written)
        if unreadable:
            raise unreadable
        return stored

    async def _unreadable_written(
        self, rows: Sequence[Mapping[str, Any]], error: Exception
    ) -> UnrepresentableValueError:
        """The error for rows that were written and cannot be returned; `error` again where that is not why."""
        table = table_of(self.model)
        key = natural_key(table)
        for row in rows:
            try:
                await self._name_unreadable(_lookup(table, key), error, {name: row[name] for name in key})
            except UnrepresentableValueError as named:
                return UnrepresentableValueError(table=named.table, key=named.key, column=named.column, written=True)
        raise error


def given(**optional: object) -> dict[str, object]:
    """Those of a lookup's optional filters that are not None."""
    return {name: value for name, value in optional.items() if value is not None}


def parameter(column: Column[Any]) -> BindParameter[Any]:
    """A value that is given with each call, under the column's name."""
    return bindparam(column.name, type_=column.type)


LIMIT = bindparam("limit", type_=Integer())


def by_code_point(text: Column[Any]) -> Any:
    """Order text by code point, whatever the database's collation; NULL last."""
    return text.collate("C").asc().nulls_last()


def _check(table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse columns that there are not, keys that are missing or of another type, and a key or an `id` given twice."""
    names = table.c.keys()
    kinds = {name: table.c[name].type.python_type for name in natural_key(table)}
    id_kind = table.c.id.type.python_type
    seen = set()
    for index, row in enumerate(rows):
        if unknown := row.keys() - names:
            column = min(map(str, unknown))
            raise InvalidArgumentError(f"{table.name} has no column {column}", field=column, index=index)
        for name, kind in kinds.items():
            if type(row.get(name)) is not kind:
                raise InvalidArgumentError(f"{name} is needed, of type {kind.__name__}", field=name, index=index)
        for key in (tuple(kinds), ("id",)):
            if key == ("id",) and type(row.get("id")) is not id_kind:
                continue  # left to the store to fill, or to refuse
            identity = (key, *[row[name] for name in key])
            if identity in seen:
                message = f"an earlier row has the same {' and '.join(key)}"
                raise DuplicateInBatchError(message, field=key[0], index=index)
            seen.add(identity)


def _body(members: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """Some of the rows as JSON; InvalidArgumentError with its place among `rows` for the first value that is none."""
    try:
        return _json(members)
    except _NO_JSON:
        for index, row in enumerate(rows):
            for name, value in row.items():
                try:
                    _json(value)
                except _NO_JSON:
                    message = f"{name} holds a value that no column takes"
                    raise InvalidArgumentError(message, field=name, index=index) from None
        raise


def _json(value: object) -> str:
    text = encode(value)
    text.encode()  # half of a surrogate pair has no UTF-8
    return text


@lru_cache(maxsize=256)
def _lookup(table: Table, names: tuple[str, ...]) -> Select[Any]:
    # Made once: for one row, making the statement and its cache key would cost as much as carrying it out.
    equal = [table.c[name] == parameter(table.c[name]) for name in names]
    return select(*table.c).where(*equal).limit(literal_column("2"))


@lru_cache(maxsize=256)
def _upsert_statement(table: Table, names: tuple[str, ...]) -> ReturningInsert[Any]:
    given = (
        func.json_to_recordset(cast(_ROWS, JSON))
        .table_valued(*[column(name, table.c[name].type) for name in names])
        .render_derived(name="given", with_types=True)
    )
    key = natural_key(table)
    statement = insert(table).from_select(list(names), select(*given.c), include_defaults=False)
    # A row of nothing but its key changes nothing, and must come back all the same.
    changed = {name: statement.excluded[name] for name in names if name not in key or len(names) == len(key)}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed).returning(*table.c)
