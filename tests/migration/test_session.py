"""The session of a command: the same texts and the same order, whatever a database or a role has set."""

import select

import psycopg
import pytest

from app.stores.postgres.session import connect
from tests.migration.engine import execute, value

# As the extension citext: text in any case, with operators in the schema of the type.
_FOLDED = """
CREATE SCHEMA "the Ext"; SET search_path = "the Ext";
CREATE TYPE ci;
CREATE FUNCTION ci_in(cstring) RETURNS ci LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ci_out(ci) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ci (INPUT = ci_in, OUTPUT = ci_out, LIKE = text, CATEGORY = 'S', COLLATABLE = true);
CREATE CAST (ci AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION ci_cmp(ci, ci) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS
    'SELECT btarraycmp(ARRAY[lower($1::text)], ARRAY[lower($2::text)])';
"""
_OPERATOR = """
CREATE FUNCTION ci_{name}(ci, ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS
    'SELECT lower($1::text) {sign} lower($2::text)';
CREATE OPERATOR {sign} (LEFTARG = ci, RIGHTARG = ci, FUNCTION = ci_{name});
"""
_SIGNS = {"lt": "<", "le": "<=", "eq": "=", "ge": ">=", "gt": ">"}
_NUMBERED = ", ".join(f"OPERATOR {number} {sign}" for number, sign in enumerate(_SIGNS.values(), 1))
_CLASS = f"""
CREATE OPERATOR CLASS ci_ops DEFAULT FOR TYPE ci USING btree AS
    FUNCTION 1 ci_cmp(ci, ci), {_NUMBERED};
CREATE TABLE public.words (word ci PRIMARY KEY);
INSERT INTO public.words VALUES ('b'), ('A'), ('C');
"""


@pytest.fixture
def folded(fresh_database: str) -> str:
    """A database with a type whose operators are outside of everyone's search path."""
    operators = "".join(_OPERATOR.format(name=name, sign=sign) for name, sign in _SIGNS.items())
    execute(fresh_database, _FOLDED + operators + _CLASS)
    return fresh_database


async def test_a_type_compares_by_its_own_operators(folded: str) -> None:
    above = "SELECT array_agg(word::text ORDER BY word) FROM public.words WHERE word > 'b'"
    with psycopg.connect(folded) as other:
        assert other.execute(above).fetchone() == (None,)  # text's: 'C' is before 'b'
    async with await connect(folded, setting="DATABASE_URL", step="test") as connection:
        assert await (await connection.execute(above)).fetchone() == (["C"],)
        path = await (await connection.execute("SHOW search_path")).fetchone()
        assert path == ('"$user", public, "the Ext"',)


@pytest.mark.parametrize(
    ("path", "expected"),
    [('"the Ext", public', '"the Ext", public'), ("''", '"", "the Ext"'), ("other", 'other, "the Ext"')],
)
async def test_the_path_is_kept(folded: str, path: str, expected: str) -> None:
    execute(folded, f"ALTER DATABASE {value(folded, 'SELECT current_database()')} SET search_path = {path}")
    async with await connect(folded, setting="DATABASE_URL", step="test") as connection:
        assert await (await connection.execute("SHOW search_path")).fetchone() == (expected,)


@pytest.mark.separate_server
async def test_a_schema_that_the_role_may_not_use_is_left_out(folded: str) -> None:
    execute(folded, "CREATE ROLE folded_reader LOGIN")
    try:
        url = folded.replace("postgresql://postgres", "postgresql://folded_reader")
        if url == folded or ":" in folded.partition("@")[0].removeprefix("postgresql:"):
            pytest.skip("the server asks for a password")
        async with await connect(url, setting="DATABASE_URL", step="test") as connection:
            assert await (await connection.execute("SHOW search_path")).fetchone() == ('"$user", public',)
    finally:
        execute(folded, "DROP ROLE folded_reader")


async def test_no_other_schema_is_added(fresh_database: str) -> None:
    async with await connect(fresh_database, setting="DATABASE_URL", step="test", read_only=True) as connection:
        assert await (await connection.execute("SHOW search_path")).fetchone() == ('"$user", public',)


async def test_what_a_database_has_set_changes_nothing(fresh_database: str) -> None:
    given = {
        "array_nulls": "off", "quote_all_identifiers": "on", "standard_conforming_strings": "off",
        "transform_null_equals": "on", "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on", "application_name": "other",
    }  # fmt: skip
    expected = {
        "array_nulls": "on", "quote_all_identifiers": "off", "standard_conforming_strings": "on",
        "transform_null_equals": "off", "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off", "application_name": "botdata test", "lc_monetary": "C",
        "jit": "off",
    }  # fmt: skip
    name = value(fresh_database, "SELECT current_database()")
    for setting, text in given.items():
        execute(fresh_database, f"ALTER DATABASE {name} SET {setting} = '{text}'")
    async with await connect(fresh_database, setting="DATABASE_URL", step="test") as connection:
        for setting, text in expected.items():
            assert await (await connection.execute(f"SHOW {setting}".encode())).fetchone() == (text,)


async def test_what_the_driver_says_of_an_error_that_it_ignores_holds_no_row(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The source is lost while the target has refused a row of the same COPY."""

    async def lose_the_source(connection: psycopg.AsyncConnection) -> None:
        async with connection.cursor().copy("COPY clients (id, yclients_id, phone) FROM STDIN") as copy:
            while not _has_answer(connection):
                await copy.write(b"1\t1\t79684484488\n")
            raise ConnectionError

    async with await connect(database_url, setting="DATABASE_URL", step="copy") as connection:
        await connection.execute("ALTER TABLE clients ADD CHECK (phone IS NULL)")
        with pytest.raises(ConnectionError):
            await lose_the_source(connection)
    assert "error ignored terminating" in caplog.text
    assert "CheckViolation [SQLSTATE 23514]" in caplog.text
    assert "4484488" not in caplog.text


def _has_answer(connection: psycopg.AsyncConnection) -> bool:
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
