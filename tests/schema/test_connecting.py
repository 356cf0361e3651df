"""DATABASE_URL in the forms that people write it in, and what is said when it leads nowhere."""

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.errors import MigrationError, SettingsError
from app.schema import revisions
from tests.schema.commands import run_alembic

PRISMA = {"pgbouncer": "true", "connection_limit": "1", "pool_timeout": "5", "schema": "public"}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_form_of_the_url(database_url: str, scheme: str) -> None:
    url = make_url(database_url).update_query_dict(PRISMA).set(drivername=scheme)
    text = url.render_as_string(hide_password=False)
    assert text.startswith(f"{scheme}://")
    assert "pgbouncer=true" in text
    assert f"{revisions.head()} (head)" in run_alembic("current", url=text).stdout
    assert revisions.current(text) == revisions.head()
    assert revisions.upgrade(text).after == revisions.head()


UNREACHABLE = "postgresql://bot:secret-word@127.0.0.1:1/salon"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "DATABASE_URL is not set"),
        ("nonsense-secret-word", "DATABASE_URL is not a URL"),
        ("mysql://bot:secret-word@127.0.0.1/salon", "it should begin with postgresql://"),
        (UNREACHABLE, "PostgreSQL cannot be reached"),
    ],
)
def test_command_says_what_is_wrong_in_one_line(url: str, message: str) -> None:
    run = run_alembic("upgrade", "head", url=url, fails=True)
    (line,) = run.stdout.strip().splitlines()
    assert line.startswith("FAILED: ")
    assert message in line
    assert "Traceback" not in run.stderr
    assert "secret-word" not in run.stdout + run.stderr


def test_functions_say_what_is_wrong() -> None:
    for function in (revisions.upgrade, revisions.current):
        with pytest.raises(MigrationError, match="PostgreSQL cannot be reached") as stopped:
            function(UNREACHABLE)
        assert "secret-word" not in str(stopped.value)
        assert str(stopped.value.next_step) == "check DATABASE_URL, then: botdata upgrade"
        with pytest.raises(SettingsError, match="DATABASE_URL is not a URL"):
            function("nonsense")


def test_password_taken_for_a_part_of_the_host_is_not_shown() -> None:
    """An unescaped @ in a password: libpq would name what follows it as the host."""
    with pytest.raises((MigrationError, SettingsError)) as stopped:
        revisions.current("postgresql://bot:secret@tail@127.0.0.1:1/salon")
    assert "tail" not in str(stopped.value)


def test_unknown_revision(database_url: str) -> None:
    with pytest.raises(MigrationError, match="Can't locate revision identified by '9999'"):
        revisions.upgrade(database_url, "9999")


@pytest.mark.parametrize(("wanted", "name"), [("0001", "0001"), ("base", "base")])
def test_upgrade_to_an_older_revision_is_refused(database_url: str, wanted: str, name: str) -> None:
    head = revisions.head()
    with pytest.raises(MigrationError) as stopped:
        revisions.upgrade(database_url, wanted)
    assert stopped.value.message == (
        f"the database is at {head}, which is above {name}; to go down: alembic downgrade {name} (in a checkout)"
    )
    assert revisions.current(database_url) == head


def test_upgrade_in_steps(fresh_database: str) -> None:
    assert revisions.upgrade(fresh_database, "base").after is None
    assert revisions.upgrade(fresh_database, "0001").after == "0001"
    assert revisions.upgrade(fresh_database, "0001").after == "0001"
    assert revisions.upgrade(fresh_database, "+1").after == "0002"
    assert revisions.upgrade(fresh_database).after == revisions.head()


def test_a_database_of_a_newer_botdata(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for wanted in ("head", "0001", "base"):
        with pytest.raises(MigrationError, match="the database is at revision 9999, which this botdata does not know"):
            revisions.upgrade(database_url, wanted)
    with pytest.raises(MigrationError) as stopped:
        revisions.upgrade(database_url)
    assert str(stopped.value.next_step) == "pip install --upgrade WHEEL_OR_CHECKOUT"
    assert revisions.current(database_url) == "9999"
