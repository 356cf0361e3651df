"""Functions of one name, of which PostgreSQL's text of a policy or a default does not tell which is meant."""

from pathlib import Path

from tests.adopt.adopting import adopt
from tests.adopt.conftest import load
from tests.support.postgres import PostgresServer

_OVERLOADED = """
CREATE TABLE notes (id int PRIMARY KEY, owner int, kind text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION me() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION kind_of(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text';
CREATE POLICY own ON notes USING (owner = me());
ALTER TABLE notes ALTER kind SET DEFAULT kind_of(1);
CREATE FUNCTION me(other int DEFAULT NULL) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
COMMENT ON FUNCTION me(int) IS 'came later';
GRANT EXECUTE ON FUNCTION me(int) TO pg_monitor;
CREATE FUNCTION kind_of(int, text DEFAULT '') RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $2';
"""


def test_a_function_that_came_later_is_not_taken_for_the_one_that_is_used(
    fresh_database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    load(fresh_database, _OVERLOADED)
    adopted = adopt(fresh_database, tmp_path / "notes", "--with-grants", target=postgres_server.admin_url)
    assert (adopted.code, adopted.document.get("proved")) == (0, True), adopted.said
