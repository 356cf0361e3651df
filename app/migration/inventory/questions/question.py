"""A question for a catalog or a table of one end, and the ways in which it can be answered."""

from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import error_for_sqlstate

_PLURALS = {"index": "indexes", "policy": "policies", "row security": "row security"}
# Nothing is told of an extension's own objects, of parts that came with another object, and of PostgreSQL's own.
_WITHOUT_MEMBERS = sql.SQL("""
SELECT q.schema, q.owner, q.name, q.definition, q.detail FROM ({question}) q
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = {catalog}::regclass AND d.objid = q.oid AND d.deptype IN ('e', 'i')
    AND (d.refclassid, d.refobjid) <> (d.classid, d.objid) -- as a partitioned table depends on its columns
)
AND (q.schema IS NULL OR (q.schema !~ '^pg_' AND q.schema NOT IN ('information_schema', {own})))
ORDER BY q.name, q.definition
""")
_READABLE = sql.SQL("""
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = {schema} AND relname = {table}
""")


@dataclass(frozen=True, slots=True)
class Question:
    """One kind of item, and how it is found.

    Attributes:
        kind: as "trigger".
        sql: gives oid, schema, owner, name, definition and detail of each. The owner is NULL where an object hangs on
            another one, and is the user's whatever schema it is in. The detail holds no secret; a definition may.
        by_hand: what a person is to do, with the item's name in the place of `{name}`.
        catalog: of what `oid` numbers; an object is left out where that belongs to an extension. None: of nothing.
        reads: the tables, as "vault.secrets", without which there is no such item.
        compared: whether the same definition in the target proves that the item was recreated.
        moved_as: the table whose verified rows are these items.
    """

    kind: str
    sql: str
    by_hand: str
    catalog: str | None = "pg_class"
    reads: tuple[str, ...] = ()
    compared: bool = True
    moved_as: str | None = None

    @property
    def plural(self) -> str:
        """The kind's name for several."""
        return _PLURALS.get(self.kind, self.kind if self.kind.endswith("s") else f"{self.kind}s")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as one end describes it; see `Question.sql`."""

    schema: str | None
    owner: str | None
    name: str
    definition: str
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an end says to a question.

    Attributes:
        found: what there is, as far as it could be seen.
        denied: the right that would show it, where the role has it not.
        failed: why the question could not be answered, where it could not.
    """

    found: tuple[Found, ...] = ()
    denied: str | None = None
    failed: str | None = None


async def ask(connection: AsyncConnection, question: Question, own_schema: str) -> Answer:
    """Ask one end.

    Args:
        own_schema: of the tool, of which nothing is told.

    Raises:
        psycopg.Error: the connection is lost, or the server stopped the statement.
    """
    try:
        for table in question.reads:
            schema, _, name = table.partition(".")
            statement = _READABLE.format(schema=sql.Literal(schema), table=sql.Literal(name))
            row = await (await connection.execute(statement)).fetchone()
            if row is None:
                return Answer()
            if not row[0]:
                return Answer(denied=right_to_read(connection, schema, table))
        statement = _WITHOUT_MEMBERS.format(
            question=sql.SQL(question.sql),
            catalog=sql.Literal(question.catalog),
            own=sql.Literal(own_schema),
        )
        rows = await (await connection.execute(statement)).fetchall()
    except psycopg.Error as error:
        return _refused(connection, question, error)
    return Answer(
        tuple(Found(schema, owner, name, said or "", detail or "") for schema, owner, name, said, detail in rows)
    )


def _refused(connection: AsyncConnection, question: Question, error: psycopg.Error) -> Answer:
    if error.sqlstate == "42501":
        where = ", ".join(question.reads) or f"the catalogs' {question.plural}"
        return Answer(
            denied=f"a role that sees all rows of {where} (BYPASSRLS, or their owner) in the source's address"
        )
    if error.sqlstate is None or error.sqlstate[:2] not in {"0A", "22", "42"}:
        raise error
    return Answer(failed=str(error_for_sqlstate(error.sqlstate)))


def right_to_read(connection: AsyncConnection, schema: str, table: str) -> str:
    """The statement that lets the role of a connection read a table; schema and table are quoted names."""
    role = sql.Identifier(connection.info.user).as_string(None)
    return f"GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {table} TO {role}"
