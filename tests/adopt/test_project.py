"""An adopted project: it is proved, its models say what the database has, and its rows are moved with its commands."""

import json
import shlex
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from tests.adopt.adopting import check, run
from tests.adopt.conftest import Project
from tests.cli.command import Command
from tests.migration.engine import execute, value
from tests.support.page_server import PageServer

_MODELS = """
import warnings
from sqlalchemy.orm import configure_mappers
import models
configure_mappers()
models.Base.metadata.sorted_tables
user = models.Base.registry._class_registry["User"]
print(len(models.Base.metadata.tables), user.__mapper__.relationships.keys())
"""


def test_it_is_proved(edges: Project) -> None:
    assert edges.adopted.code == 0, edges.adopted.said
    assert edges.adopted.document["proved"] is True
    assert edges.adopted.document["differences"] == []
    assert edges.adopted.document["items"] > 200
    assert "auth.users is not part of the move" in edges.adopted.said
    assert "Next: cd" in edges.adopted.said


def test_no_text_of_the_users_is_rewritten(edges: Project) -> None:
    statements = (edges.directory / "alembic/versions/0001_schema.sql").read_text("utf-8")
    assert "$$ BEGIN /* :name %s \\restrict */ new.touched := now(); RETURN new; END $$" in statements
    assert "\n\\restrict" not in statements
    assert "CREATE SCHEMA public" not in statements


def test_the_models_import_and_are_clean(edges: Project) -> None:
    imported = run(edges.directory, "python", "-W", "error", "-c", _MODELS)
    assert imported.stdout == "27 ['class_class']\n", imported.stderr
    linted = run(edges.directory, "ruff", "check", "--no-cache", ".")
    assert linted.returncode == 0, linted.stdout
    typed = run(edges.directory, "mypy", f"--cache-dir={edges.directory.parent / 'mypy'}")
    assert typed.returncode == 0, typed.stdout


def test_two_upgrades_at_once(edges: Project, fresh_database: str) -> None:
    with ThreadPoolExecutor(2) as both:
        words = (edges.directory, "alembic", "upgrade", "head")
        done = [both.submit(run, *words, target=fresh_database) for _ in range(2)]
    assert [one.result().returncode for one in done] == [0, 0], [one.result().stderr for one in done]


_DRIFTS = {
    "ALTER TABLE shop.things ADD more text": "remove_column",
    'ALTER TABLE "Two Words" ALTER "1st" TYPE bigint': "modify_type",
    "ALTER TABLE things ALTER touched SET DEFAULT clock_timestamp()": "modify_default",
    "CREATE INDEX strange ON things (v)": "remove_index",
    "ALTER TABLE things ALTER touched DROP NOT NULL": "modify_nullable",
}


def test_alembic_check_finds_a_drift_and_nothing_else(edges: Project, upgraded: str) -> None:
    assert check(edges.directory, upgraded) == ""
    for change in _DRIFTS:
        execute(upgraded, change)
    found = check(edges.directory, upgraded)
    assert [kind for kind in _DRIFTS.values() if repr(kind) not in found] == []
    assert found.count("'modify_") == 3
    assert found.count("'remove_") == 2
    assert "'add_" not in found


# All but the one whose rows nothing tells apart.
_OVER_REST = (
    "apart", "by_address", "by_bytes", "by_float", "by_label", "by_moment", "by_number", "by_text", "class", "computed",
    "eggs", "hens", "key_by_index", "lists", "numbered_a", "numbered_b", "odd", "of_users", "placed", "ranged",
    "spoken", "things", "tree", "Two Words", "User", "shop.things",
)  # fmt: skip


def _texts(url: str) -> dict[str, list[str]]:
    """The rows of every table, as text."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'; SET extra_float_digits = 1; SET bytea_output = 'hex'")
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'shop')"
            " AND tablename <> 'alembic_version' ORDER BY 1, 2"
        ).fetchall()
        statement = sql.SQL('SELECT t::text COLLATE "C" FROM {} t ORDER BY 1')
        return {
            f"{schema}.{name}": [
                text for (text,) in connection.execute(statement.format(sql.Identifier(schema, name))).fetchall()
            ]
            for schema, name in names
        }


@pytest.mark.parametrize("over", ["REST", "a connection"])
def test_its_rows_are_moved_with_its_own_commands(
    edges: Project, command: Command, monkeypatch: pytest.MonkeyPatch, fresh_database: str, over: str
) -> None:
    with PageServer(edges.source, schemas=("public", "shop"), describes=True) as pages:
        environment = {"DATABASE_URL": fresh_database, "SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
        environment["MIGRATION_SOURCE"] = "supabase" if over == "REST" else edges.source
        monkeypatch.chdir(edges.directory)

        def moved(line: str, code: int = 0) -> str:
            outcome = command(*shlex.split(line), **environment)
            assert outcome.code == code, outcome.out + outcome.err
            return outcome.out

        told = moved("preflight")
        assert "Next: botdata migrate" in told
        if over == "REST":
            told = moved("migrate", code=1)
            assert "Next: botdata migrate --tables no_key --source postgresql://" in told
            moved(f"migrate --tables no_key --source {edges.source}")
        else:
            told = moved("migrate")
        assert "schema: upgraded from nothing to 0001" in told
        chosen = "" if over == "a connection" else f" --tables '{','.join(_OVER_REST)}'"
        assert "sync complete" in moved(f"sync{chosen}")
        told = moved(f"verify{chosen}")
        assert "no difference" in told
        assert "--until-clean, once nothing writes to the source" in told  # what comes next is not the salon's
    source = _texts(edges.source)
    assert source.keys() > {"public.ranged_old", "shop.things", "public.Two Words"}
    assert _texts(fresh_database) == source
    following = value(edges.source, "SELECT last_value + 1 FROM numbers")
    assert value(fresh_database, "SELECT nextval('numbers')") == following


def test_what_is_not_for_it_says_so(
    edges: Project, upgraded: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(edges.directory)
    execute(upgraded, "DROP TABLE alembic_version")
    settings = {"DATABASE_URL": upgraded, "MIGRATION_SOURCE": edges.source}
    found = command("preflight", "--json", **settings)
    codes = {one["code"]: one["remedy"] for one in json.loads(found.out)["findings"] if one["severity"] == "error"}
    assert codes["target-incompatible"].startswith("have DATABASE_URL name an empty database")
    assert "target-empty" not in found.out
    for line in ("cutover advance", "parity", "mirror drain", "fleet upgrade", "schema replace"):
        refused = command(*line.split(), **settings)
        assert (refused.code, "is for the bot's own tables" in refused.err) == (1, True), line + refused.err
    assert value(upgraded, "SELECT to_regnamespace('botdata') IS NULL")
    assert command("cutover", "--help", **settings).code == 0
