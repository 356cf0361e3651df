"""The commands that write rows, at a stage at which the tables belong to the other store."""

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, query
from tests.support.page_server import PageServer

_LIVE = "UPDATE botdata.stage SET stage = 'live', moved_at = now()"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 3)
    return {
        "SUPABASE_URL": pages.url,
        "SUPABASE_KEY": pages.service_key,
        "DATABASE_URL": database_url,
        "CUTOVER_STAGE": "database",
    }


def test_what_is_refused_and_what_is_left_out(
    command: Command, settings: dict[str, str], source_database: str, database_url: str
) -> None:
    assert command("upgrade", **settings).code == 0
    execute(database_url, _LIVE)
    execute(source_database, "INSERT INTO staff (yclients_id, company_id, name) VALUES (1, 1, 's')")
    for line in ("copy", "migrate", "copy --overwrite", "verify --fix --overwrite", "sync --tables clients,staff"):
        outcome = command(*line.split(), **settings)
        assert outcome.code == 1, line
        named = "clients" if "--tables" in line else "clients, companies, dialog_contexts, services, staff_schedules"
        assert f"PostgreSQL is the store of {named} (the cutover stands at live)" in outcome.err, line
        assert "botdata cutover status" in outcome.err
        assert "the same command, with --tables " in outcome.err
    outcome = command("sync", **settings)
    assert outcome.code == 0, outcome.err
    assert "left out, since PostgreSQL is their store: clients, companies" in outcome.err
    assert query(database_url, "SELECT (SELECT count(*) FROM clients), (SELECT count(*) FROM staff)") == [(0, 1)]
