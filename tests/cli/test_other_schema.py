"""The commands in a schema of another name, in a database where a second salon lives in `public`."""

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, row_texts, value
from tests.support.other_schemas import searching

_OF_PUBLIC = (
    "SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM ("
    "SELECT c.relname, c.relfilenode, pg_stat_get_tuples_inserted(c.oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname IN ('public', 'botdata')) t"
)


@pytest.fixture
def salon(source_database: str, database_url: str) -> dict[str, str]:
    """The settings of a salon that is to move to `t1`; `public` of its target is another's."""
    add_clients(source_database, 30)
    add_clients(database_url, 7)
    execute(database_url, "UPDATE clients SET name = 'of another salon'")
    return {"MIGRATION_SOURCE": source_database, "DATABASE_URL": database_url, "DATABASE_SCHEMA": "t1"}


def test_a_move_to_another_schema(command: Command, salon: dict[str, str]) -> None:
    target, source = salon["DATABASE_URL"], salon["MIGRATION_SOURCE"]
    before = value(target, _OF_PUBLIC)
    moved = command("migrate", "--with-baileys", **salon)
    assert moved.code == 0, moved.err + moved.out
    assert row_texts(searching(target, "t1"), "clients") == row_texts(source, "clients")
    execute(source, "UPDATE clients SET notes = 'later' WHERE id = 3; DELETE FROM clients WHERE id = 5")
    differs = command("verify", **salon)
    assert differs.code == 1
    for step in ("sync", "verify", "preflight", "quarantine list", "status", "report", "cutover status"):
        done = command(*step.split(), **salon)
        assert done.code == 0, step + done.err + done.out
    assert row_texts(searching(target, "t1"), "clients") == row_texts(source, "clients")
    assert value(target, _OF_PUBLIC) == before
