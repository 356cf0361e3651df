"""`botdata migrate` as a whole: it looks before it touches anything, and one more run brings what has changed."""

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute, row_texts, value
from tests.support import faults
from tests.support.page_server import PageServer

_TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


@pytest.fixture
def settings(pages: PageServer, source_database: str, fresh_database: str) -> dict[str, str]:
    add_clients(source_database, 30)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": fresh_database}


@pytest.mark.parametrize(
    ("arguments", "changed", "code", "told"),
    [
        ([], {"SUPABASE_KEY": ""}, 1, "SUPABASE_KEY is not set"),
        ([], {"SUPABASE_KEY": "sb_publishable_x"}, 1, "a key of the role publishable"),
        ([], {"USE_REPOSITORY_PATTERN": "true"}, 1, "nothing was written"),
        ([], {"USE_REPOSITORY_PATTERN": "perhaps"}, 1, "USE_REPOSITORY_PATTERN is 'perhaps'"),
        (["--tables", "nope"], {}, 2, "no such table: nope"),
    ],
)
def test_what_is_wrong_is_found_before_the_schema_is_touched(
    command: Command, settings: dict[str, str], arguments: list[str], changed: dict[str, str], code: int, told: str
) -> None:
    outcome = command("migrate", *arguments, **{**settings, **changed})
    assert outcome.code == code
    assert told in outcome.err
    assert value(settings["DATABASE_URL"], _TABLES) == 0


def test_from_an_empty_database_to_a_verified_copy(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    outcome = command("migrate", **settings)
    assert outcome.code == 0, outcome.err
    assert "copy complete: 30 rows copied" in outcome.out
    assert "verified: 30 rows, no difference" in outcome.out
    assert row_texts(settings["DATABASE_URL"], "clients") == row_texts(source_database, "clients")


def test_after_a_stop_all_tables_are_brought_to_the_present(
    command: Command, settings: dict[str, str], source_database: str, pages: PageServer
) -> None:
    execute(source_database, "INSERT INTO staff (yclients_id, name) VALUES (1, 'a')")
    pages.hook = lambda request: faults.status(400) if request.table == "staff" else None
    stopped = command("migrate", "--with-baileys", **settings)
    assert stopped.code == 1
    assert "next:    botdata migrate --with-baileys" in stopped.err
    pages.hook = lambda request: None
    execute(source_database, "UPDATE clients SET notes = 'changed after it was copied'")
    outcome = command("migrate", **settings)
    assert outcome.code == 0, outcome.err
    assert row_texts(settings["DATABASE_URL"], "clients") == row_texts(source_database, "clients")


def test_an_incomplete_copy_of_equal_rows_is_no_success(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    """The target has a foreign key that a row of the source does not keep."""
    command("upgrade", **settings)
    execute(
        settings["DATABASE_URL"], "ALTER TABLE clients ADD FOREIGN KEY (company_id) REFERENCES companies (company_id)"
    )
    execute(source_database, "UPDATE clients SET company_id = 99 WHERE id = 7")
    outcome = command("migrate", **settings)
    assert "copy NOT complete: 30 rows copied" in outcome.out
    assert "verified: 30 rows, no difference" in outcome.out
    assert outcome.code == 1


def test_a_row_deleted_at_the_source_is_named_with_what_to_do(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    command("migrate", **settings)
    execute(source_database, "DELETE FROM clients WHERE id = 7")
    outcome = command("migrate", **settings)
    assert outcome.code == 1
    assert "extra: clients 7 is not in the source" in outcome.out
    assert "Next: botdata sync, which deletes rows that the source does not have" in outcome.out
    assert "Next: botdata copy" not in outcome.out.partition("NOT the same")[2]


@pytest.mark.parametrize("step", ["copy", "parity"])
@pytest.mark.parametrize("key", ["sb_secret_abc••••", "sb_secret_ключ", "sb_secret_a\nb"])
def test_a_key_copied_wrongly(command: Command, settings: dict[str, str], step: str, key: str) -> None:
    command("upgrade", **settings)
    outcome = command(step, **{**settings, "SUPABASE_KEY": key})
    assert outcome.code == 1
    assert "SUPABASE_KEY holds characters that no key has" in outcome.err


def test_the_dashboards_address(command: Command, settings: dict[str, str]) -> None:
    command("upgrade", **settings)
    outcome = command("copy", **{**settings, "SUPABASE_URL": "https://supabase.example/dashboard/project/x"})
    assert outcome.code == 1
    assert "SUPABASE_URL is the dashboard's" in outcome.err


def test_parity_with_a_key_that_rows_are_hidden_from(command: Command, settings: dict[str, str]) -> None:
    outcome = command("parity", **{**settings, "SUPABASE_KEY": "sb_publishable_x"})
    assert outcome.code == 1
    assert "botdata parity stopped: SUPABASE_KEY is a key of the role publishable" in outcome.err
