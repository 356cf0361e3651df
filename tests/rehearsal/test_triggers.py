"""A project's own triggers are disabled in its rehearsal; what keeps foreign keys is not."""

import psycopg
import pytest

from app.migration.target.target_session import open_target
from app.rehearsal.database import disable_triggers
from tests.migration.engine import execute

_SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE shop.first PARTITION OF shop.orders FOR VALUES FROM (0) TO (100);
CREATE TABLE lines (number integer UNIQUE DEFERRABLE INITIALLY DEFERRED, order_id integer REFERENCES shop.orders);
CREATE FUNCTION call_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'called out'; END $$;
CREATE TRIGGER a AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION call_out();
CREATE TRIGGER b BEFORE INSERT ON lines FOR EACH STATEMENT EXECUTE FUNCTION call_out();
CREATE CONSTRAINT TRIGGER c AFTER INSERT ON lines FOR EACH ROW EXECUTE FUNCTION call_out();
ALTER TABLE lines ENABLE ALWAYS TRIGGER b;
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'called out'; END $$;
CREATE EVENT TRIGGER d ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION on_ddl();
"""


async def test_none_calls_out_and_keys_are_kept(fresh_database: str) -> None:
    execute(fresh_database, _SCHEMA)
    async with open_target(fresh_database, step="test") as connection:
        assert await disable_triggers(connection) == 4
        assert await disable_triggers(connection) == 0
    execute(fresh_database, "INSERT INTO shop.orders VALUES (1); INSERT INTO lines VALUES (1, 1); CREATE TABLE t ()")
    for broken in ("INSERT INTO lines VALUES (2, 5)", "INSERT INTO lines VALUES (1, 1)"):
        with psycopg.connect(fresh_database, autocommit=True) as one, pytest.raises(psycopg.errors.IntegrityError):
            one.execute(broken.encode())
