"""The SQL that loads pages: a page is one JSON parameter whose values are all PostgreSQL text.

Values are cast to their column's type without its length: a cast to varchar(50) would cut a longer text, where an
assignment refuses it.
"""

from collections.abc import Callable, Iterable, Sequence

from psycopg import AsyncConnection, sql

from app.migration.tables.column_shapes import INSIDE
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.stores.supabase.grammar import alias


def listed(items: Iterable[sql.Composable], separator: str = ", ") -> sql.Composed:
    """The items with a separator between them."""
    return sql.SQL(separator).join(items)


def names_of(columns: Iterable[CopyColumn], prefix: str | None = None) -> sql.Composed:
    """The columns' quoted names, with commas."""
    parts = (prefix,) if prefix else ()
    return listed(sql.Identifier(*parts, column.name) for column in columns)


def page_rows(table: CopyTable) -> sql.Composed:
    """A CTE `page` with the rows of parameter 1: every column as text, under its own name."""
    return sql.SQL("page ({}) AS MATERIALIZED (SELECT * FROM json_to_recordset(%s::json) AS x ({}))").format(
        names_of(table.columns), aliases(table.columns)
    )


def aliases(columns: Sequence[CopyColumn]) -> sql.Composed:
    """The columns of a page as a source sends them: text under a short alias, see app.migration.sources.source."""
    return listed(sql.SQL("{} text").format(sql.Identifier(alias(position))) for position in range(len(columns)))


# A time that no zone follows, or a day, as a source whose column has no zone gives it: which moment it is, no one can
# tell.
WITHOUT_ZONE = r"[ T]\d\d:\d\d:\d\d(\.\d+)?([^-+.\d]|$)|^\d+-\d\d-\d\d( BC)?$"
# A time with its zone, as ISO or PostgreSQL's own DateStyle writes it. Inside another type it is all that the settings
# of a session may write in another way.
_MOMENT = (
    r"\d+-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[-+]\d\d(:\d\d)*( BC)?"
    r"|[A-Z][a-z]{2} (\d\d [A-Z][a-z]{2}|[A-Z][a-z]{2} \d\d) \d\d:\d\d:\d\d(\.\d+)? \d+ [-+:\w]+( BC)?"
)


def _typed(columns: Iterable[CopyColumn], prefix: str) -> sql.Composed:
    return listed(_value(sql.Identifier(prefix, column.name), column) for column in columns)


def _value(given: sql.Identifier, column: CopyColumn) -> sql.Composed:
    """A text as a value of its column; one that would be shortened or rounded is refused (see `ensure_refusal`)."""
    plain = sql.SQL("{}::{}").format(given, sql.SQL(column.type))
    if column.exact is None:
        return plain
    narrowed = sql.SQL("{}::{}::{} <> {}::{}").format(
        given, sql.SQL(column.written), sql.SQL(column.exact), given, sql.SQL(column.exact)
    )
    if column.written.startswith("character varying(") and column.exact == "character varying":
        # Most texts are shorter than the limit, which costs less to see.
        most = sql.SQL(column.written.removeprefix("character varying(").removesuffix(")"))
        narrowed = sql.SQL("octet_length({}::text) > {} AND {}").format(given, most, narrowed)
    return sql.SQL("CASE WHEN {} THEN pg_temp.botdata_refused({}, {}, {}) ELSE {} END").format(
        narrowed, sql.Literal(column.name), sql.Literal(column.written), plain, plain
    )


def same_key(table: CopyTable) -> sql.Composed:
    """The target's row `t` has the key of the page's row `p`: by value, so that an index serves."""
    return listed(
        (
            sql.SQL("t.{name} = p.{name}::{type}").format(name=sql.Identifier(column.name), type=sql.SQL(column.type))
            for column in table.key
        ),
        " AND ",
    )


def same_key_text(table: CopyTable, other: str, *, typed: Callable[[CopyColumn], bool]) -> sql.Composed:
    """The same for any text, also one that is no value of the column's type; `typed` columns are compared as such.

    To a collation of the column's own, unlike texts may be equal.
    """

    def same(column: CopyColumn) -> sql.Composed:
        cast = sql.SQL("" if typed(column) else '::text COLLATE "C"')
        return sql.SQL("t.{name}{cast} = {other}.{name}").format(
            name=sql.Identifier(column.name), cast=cast, other=sql.Identifier(other)
        )

    return listed(map(same, table.key), " AND ")


def text_differs(source: str, *, source_is_text: bool, styled: bool = True) -> Callable[[CopyColumn], sql.Composed]:
    """An expression that is true where a column's value in the target's row `t` is not the source's, as text."""

    def differs(column: CopyColumn) -> sql.Composed:
        ours, theirs = sql.Identifier("t", column.name), sql.Identifier(source, column.name)
        # To a collation of the column's own, unlike texts may be equal.
        unlike = sql.SQL('{}::text COLLATE "C" IS DISTINCT FROM {}::text').format(ours, theirs)
        if column.styled is None or not (styled and source_is_text):
            return unlike
        kind = sql.SQL(column.type if column.styled == INSIDE else column.styled)
        other = sql.SQL('{}::{}::text COLLATE "C" IS DISTINCT FROM {}::{}::text').format(ours, kind, theirs, kind)
        if column.styled == INSIDE:
            rest = [
                sql.SQL("regexp_replace({}::text, {}, '', 'g')").format(one, sql.Literal(_MOMENT))
                for one in (ours, theirs)
            ]
            other = sql.SQL("({} OR {} IS DISTINCT FROM {})").format(other, *rest)
        elif column.zoned:
            other = sql.SQL("({} OR {}::text ~ {})").format(other, theirs, sql.Literal(WITHOUT_ZONE))
        return sql.SQL("({} AND {})").format(unlike, other)

    return differs


def any_differs(table: CopyTable) -> sql.Composed:
    """The target's row `t` is not the page's row `p`, as text."""
    rest = table.columns[table.key_size :]
    return listed(map(text_differs("p", source_is_text=True), rest), " OR ") if rest else sql.SQL("false").format()


def _values(table: CopyTable) -> sql.Composed:
    identity = sql.SQL(" OVERRIDING SYSTEM VALUE" if table.always_identity else "")
    return sql.SQL("INSERT INTO {} AS t ({}){} SELECT {} FROM page p").format(
        table.identifier, names_of(table.columns), identity, _typed(table.columns, "p")
    )


def insert_page(table: CopyTable) -> sql.Composed:
    """Insert the rows of the page in parameter 1, none of which the target is to hold.

    Returns one row: rows inserted, and the transaction (xmin) that they are of, outside of any savepoint.
    """
    page = sql.SQL("page ({}) AS (SELECT * FROM json_to_recordset(%s::json) AS x ({}))").format(
        names_of(table.columns), aliases(table.columns)
    )
    return sql.SQL(
        "WITH {}, loaded AS ({} RETURNING true) SELECT count(*), pg_current_xact_id()::xid::text FROM loaded"
    ).format(page, _values(table))


def load_page(table: CopyTable, page: sql.Composed | None = None) -> sql.Composed:
    """Insert or update the rows of a page, leaving equal ones alone.

    Args:
        page: a CTE `page` in place of the one that reads parameter 1; its columns are text, or of the target's types.

    Returns one row: rows inserted, rows updated, the transactions (xmin) they are of; and of the page in parameter 1
    whether a key is there twice: where the first such row changes nothing, PostgreSQL lets the second one change it.
    """
    if not table.key:
        return _append(table, page or page_rows(table))
    rest = table.columns[table.key_size :]
    if table.has_rules:
        action: sql.Composable = sql.SQL(" WHERE NOT EXISTS (SELECT FROM {} t WHERE {})").format(
            table.rows, same_key(table)
        )
    elif table.replaces_rows or not rest:
        action = sql.SQL(" ON CONFLICT ({}) DO NOTHING").format(names_of(table.key))
    else:
        action = sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {} WHERE {}").format(
            names_of(table.key),
            listed(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column.name)) for column in rest),
            listed(map(text_differs("excluded", source_is_text=False), rest), " OR "),
        )
    if not table.has_only:
        return _load_partitioned(table, page or page_rows(table), action, _repeated(table, page))
    # A row version made by an INSERT has no xmax; one made by ON CONFLICT DO UPDATE has.
    return sql.SQL(
        "WITH {}, loaded AS ({}{} RETURNING t.xmax = 0 AS inserted, t.xmin::text AS xid) "
        "SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted), "
        "coalesce(array_agg(DISTINCT xid), '{{}}'){} FROM loaded"
    ).format(page or page_rows(table), _values(table), action, _repeated(table, page))


def _append(table: CopyTable, page: sql.Composed) -> sql.Composed:
    """The same for a table without a key, of which every row is a new one: see `create_marks`."""
    return sql.SQL(
        "WITH {}, loaded AS ({} RETURNING true), mark AS (INSERT INTO pg_temp.{} DEFAULT VALUES "
        "RETURNING xmin::text AS xid) SELECT count(*), 0::bigint, "
        "CASE WHEN count(*) > 0 THEN ARRAY(SELECT xid FROM mark) ELSE '{{}}' END, false FROM loaded"
    ).format(page, _values(table), sql.Identifier(_MARKS))


def _repeated(table: CopyTable, page: sql.Composed | None) -> sql.Composable:
    if page is not None:
        return sql.SQL("")
    return sql.SQL(", EXISTS (SELECT FROM page GROUP BY {} HAVING count(*) > 1)").format(names_of(table.key))


def _load_partitioned(
    table: CopyTable, page: sql.Composed, action: sql.Composable, repeated: sql.Composable
) -> sql.Composed:
    """The same for a partitioned table, whose RETURNING gives no xmin: see `create_marks`.

    A row that was there, as the statement's snapshot shows it, was updated; the other ones were inserted.
    """
    keys = listed(sql.SQL("l.{}").format(sql.Identifier(f"k{i}")) for i in range(table.key_size))
    return sql.SQL(
        "WITH {page}, loaded ({names}) AS ({values}{action} RETURNING {returned}), "
        "mark AS (INSERT INTO pg_temp.{marks} DEFAULT VALUES RETURNING xmin::text AS xid), "
        "done AS (SELECT EXISTS (SELECT FROM {table} o WHERE ({own}) = ({keys})) AS was_there FROM loaded l) "
        "SELECT count(*) FILTER (WHERE NOT was_there), count(*) FILTER (WHERE was_there), "
        "CASE WHEN count(*) > 0 THEN ARRAY(SELECT xid FROM mark) ELSE '{{}}' END{repeated} FROM done"
    ).format(
        page=page,
        names=listed(sql.Identifier(f"k{i}") for i in range(table.key_size)),
        values=_values(table),
        action=action,
        returned=names_of(table.key, "t"),
        marks=sql.Identifier(_MARKS),
        table=table.rows,
        own=names_of(table.key, "o"),
        keys=keys,
        repeated=repeated,
    )


_MARKS = "transaction_marks"


def create_marks() -> sql.Composed:
    """A temporary table whose rows tell, by their xmin, the transaction or subtransaction that a statement ran in."""
    return sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} () ON COMMIT DELETE ROWS").format(sql.Identifier(_MARKS))


def delete_changed(table: CopyTable, page: sql.Composed | None = None) -> sql.Composed:
    """Delete the target's rows that differ from the page's: where an update trigger would change what is written.

    Args:
        page: as in `load_page`.
    """
    return sql.SQL("WITH {} DELETE FROM {} t USING page p WHERE {} AND ({})").format(
        page or page_rows(table),
        table.rows,
        same_key(table),
        any_differs(table),
    )


def key_array(table: CopyTable, prefix: str) -> sql.Composed:
    """A row's key as text[]."""
    return array_of(sql.SQL("{}::text").format(sql.Identifier(prefix, column.name)) for column in table.key)


def typed_key_array(table: CopyTable) -> sql.Composed:
    """The same of a page's row `p`, as the target writes its key."""
    return array_of(
        sql.SQL("{}::{}::text").format(sql.Identifier("p", column.name), sql.SQL(column.type)) for column in table.key
    )


def array_of(texts: Iterable[sql.Composable]) -> sql.Composed:
    """Texts as text[], in the collation of the tool's own tables: columns of several collations have none in common."""
    return sql.SQL("ARRAY[{}]").format(listed(sql.SQL('{} COLLATE "default"').format(text) for text in texts))


# 22001: string_data_right_truncation. It takes and gives the type of the value in whose place it is called.
_REFUSAL = """
DO $do$ BEGIN IF to_regproc('pg_temp.botdata_refused') IS NULL THEN
    CREATE FUNCTION pg_temp.botdata_refused(name text, type text, plain anyelement) RETURNS anyelement
    LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '22001', COLUMN = name,
            MESSAGE = format('a value of %s would be shortened or rounded to fit %s', name, type);
    END $$;
END IF; END $do$
"""


async def ensure_refusal(connection: AsyncConnection, table: CopyTable) -> None:
    """Make the function by which the statements that load a table refuse such values, in this session.

    Raises:
        psycopg.Error: the role may make nothing temporary.
    """
    if any(column.exact is not None for column in table.columns):
        await connection.execute(_REFUSAL)
