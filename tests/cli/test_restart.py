"""`--restart`: a copy that begins again, and what it takes over from the one that it leaves behind."""

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, query, row_texts
from tests.support import faults
from tests.support.page_server import PageServer


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str, command: Command) -> dict[str, str]:
    """A copy that stopped at its second table."""
    add_clients(source_database, 30)
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    pages.hook = lambda request: faults.status(400) if request.table == "staff" else None
    assert command("copy", **settings).code == 1
    pages.hook = lambda request: None
    return settings


@pytest.mark.parametrize("step", ["copy", "migrate"])
def test_a_new_run_reads_every_table_again(
    command: Command, settings: dict[str, str], source_database: str, step: str
) -> None:
    execute(source_database, "UPDATE clients SET notes = 'later' WHERE id = 3")
    outcome = command(step, "--restart", **settings)
    assert outcome.code == 0, outcome.err
    target = settings["DATABASE_URL"]
    assert row_texts(target, "clients") == row_texts(source_database, "clients")
    assert query(target, "SELECT id, state, finished_at IS NULL FROM botdata.runs ORDER BY id") == [
        (1, "abandoned", False),
        (2, "complete", False),
    ]


def test_without_it_the_run_goes_on(command: Command, settings: dict[str, str]) -> None:
    assert command("copy", **settings).code == 0
    assert query(settings["DATABASE_URL"], "SELECT id, state FROM botdata.runs") == [(1, "complete")]
