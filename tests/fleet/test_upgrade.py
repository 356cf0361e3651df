"""`fleet upgrade`: makes and upgrades salons, goes on after a failure, and after a stop or a kill."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.common.schemas import Schemas
from app.schema import revisions
from app.schema.revisions import UPGRADE_LOCK
from tests.cli.command import Command, start, wait_beside
from tests.cli.test_json import check_document
from tests.migration.engine import execute, query, value
from tests.support.other_schemas import in_schema

# What a schema holds, as it says of itself, without its name.
_CONTENTS = """
SELECT replace(t, 'SCHEMA_botdata', 'tool') AS t FROM (
    SELECT c.relkind::text || ' ' || coalesce(pg_get_indexdef(c.oid), c.oid::regclass::text || ' ' || (
        SELECT string_agg(format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull), ',' ORDER BY 1)
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)) AS t
    FROM pg_class c WHERE relnamespace IN ('SCHEMA'::regnamespace, 'SCHEMA_botdata'::regnamespace) AND relkind <> 'S'
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'SCHEMA'::regnamespace
) t ORDER BY 1
"""
_MADE = "SELECT array_agg(nspname ORDER BY nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE "
_WITH_TOOL = _MADE + "relname = 'stage' AND nspname LIKE '%_botdata'"


def _contents(url: str, schema: str) -> list[str]:
    rows = query(url, _CONTENTS.replace("SCHEMA", schema))
    return [text.replace(f"{schema}.", "").replace(f"'{schema}'", "").replace(f" {schema}_", " ") for (text,) in rows]


def _document(out: str) -> dict[str, Any]:
    document = check_document(out, "fleet upgrade")
    return {"ok": document["ok"], **{one["salon"]: one for one in document["salons"]}}


def test_it_makes_and_upgrades_and_passes_over(command: Command, fresh_database: str, tmp_path: Path) -> None:
    url = fresh_database
    revisions.upgrade(in_schema(url, "old"), "0001")
    assert command("upgrade", DATABASE_URL=url, DATABASE_SCHEMA="alone").code == 0
    execute(url, "CREATE SCHEMA other CREATE TABLE theirs (id integer); CREATE SCHEMA prepared")
    (tmp_path / "names").write_text("prepared\n\nt1\n")
    line = ("fleet", "upgrade", "--create-from", "names", "--create", "t1", "--only", "[aopt]*", "--json")
    planned = _document(command(*line, "--dry-run", DATABASE_URL=url).out)
    assert planned.pop("ok")
    assert {name: one["outcome"] for name, one in planned.items()} == {
        "alone": "at the head", "old": "would be upgraded", "prepared": "would be created", "t1": "would be created",
    }  # fmt: skip
    assert value(url, _WITH_TOOL) == ["alone_botdata"]
    done = _document(command(*line, DATABASE_URL=url).out)
    assert done.pop("ok")
    assert {name: (one["outcome"], one["revision"], one["stage"]) for name, one in done.items()} == {
        "alone": ("at the head", "0002", "off"),
        "old": ("upgraded", "0002", "off"),
        "prepared": ("created", "0002", "off"),
        "t1": ("created", "0002", "off"),
    }
    assert done["old"]["reason"].startswith("from 0001; the tool's own schema from nothing")
    for name in ("old", "prepared", "t1"):
        assert _contents(url, name) == _contents(url, "alone")
    again = _document(command(*line, DATABASE_URL=url).out)
    assert {one["outcome"] for name, one in again.items() if name != "ok"} == {"at the head"}
    refused = command("fleet", "upgrade", "--create", "other", "--create", "t2", "--json", DATABASE_URL=url)
    found = _document(refused.out)
    assert (refused.code, found["other"]["outcome"], found["t2"]["outcome"]) == (1, "failed", "created")
    assert "what it holds is no salon" in found["other"]["reason"]
    assert found["other"]["next"].startswith("DATABASE_SCHEMA=other botdata upgrade")


def test_it_goes_on_after_a_salon_that_fails(command: Command, salons: str) -> None:
    execute(
        salons, "UPDATE t1.alembic_version SET version_num = 'ffff'; DELETE FROM t2_botdata.version WHERE version > 3"
    )
    execute(salons, "INSERT INTO t3_botdata.version VALUES (10000)")
    execute(salons, "DROP TABLE t2_botdata.streams")  # so that a version makes something again, and the next fails
    done = command("fleet", "upgrade", "--create", "t4", "--jobs", "1", DATABASE_URL=salons)
    assert done.code == 1
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.startswith("t")}
    assert "this botdata does not know: it was made by a newer one" in lines["t1"]
    assert "failed" in lines["t2"]
    assert "a newer botdata has made the tool's own schema" in lines["t3"]
    assert "created" in lines["t4"]
    assert "4 salons: 3 failed, 1 created" in done.out
    assert next(iter(lines)) == "t4"  # what is not well comes at the end
    assert "Next: botdata fleet upgrade" in done.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("upgrade --create Big", 1, "no salon can be named 'Big': it must be of small letters"),
        ("upgrade --create auth", 1, "it is the name of a schema of PostgreSQL's"),
        ("upgrade --create-from nowhere", 1, "nowhere cannot be read: No such file or directory"),
        ("status --only x* --only t1", 1, "no salon's name matches x*"),
        ("upgrade --jobs 0", 2, "--jobs"),
        ("verify", 2, "--sources"),
    ],
)
def test_what_it_is_asked_for_is_checked(command: Command, salons: str, words: str, code: int, said: str) -> None:
    done = command("fleet", *words.split(), DATABASE_URL=salons)
    assert (done.code, said in " ".join(done.err.split())) == (code, True), done.err


def test_a_setting_that_names_one_salon_is_refused(command: Command, salons: str) -> None:
    done = command("fleet", "status", DATABASE_URL=salons, DATABASE_SCHEMA="t1")
    assert (done.code, "the settings name t1 alone" in done.err) == (1, True)
    assert command("fleet", "status", "--only", "t1", DATABASE_URL=in_schema(salons, "public")).code == 0


def test_an_empty_database_has_no_salon(command: Command, fresh_database: str) -> None:
    done = command("fleet", "status", DATABASE_URL=fresh_database)
    assert (done.code, "botdata fleet upgrade --create NAME" in done.err) == (1, True)


@contextmanager
def _at_work(url: str, directory: Path, waits_for: str) -> Iterator[tuple[subprocess.Popen[str], psycopg.Connection]]:
    """The command for s1 to s6, which waits at a salon, and the other upgrade of it for which it waits."""
    (directory / "names").write_text("\n".join(f"s{number}" for number in range(1, 7)))
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [Schemas(waits_for).lock(UPGRADE_LOCK)])
        line = ("fleet", "upgrade", "--create-from", "names", "--jobs", "2")
        process = start(*line, directory=directory, DATABASE_URL=url)
        try:
            wait_beside(process, lambda: value(url, waiting) == 1)
            yield process, other
        finally:
            process.kill()
            process.communicate()


def test_it_goes_on_after_a_stop_and_after_a_kill(command: Command, fresh_database: str, tmp_path: Path) -> None:
    url = fresh_database
    with _at_work(url, tmp_path, "s3") as (process, other):
        process.send_signal(signal.SIGTERM)
        other.rollback()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("s")}
    assert [name for name, line in lines.items() if "created" in line][:3] == ["s1", "s2", "s3"]
    assert "not done" in lines["s6"]
    assert "NOT all was done: it was interrupted" in out
    assert "Next: botdata fleet upgrade --jobs 2 --create-from names" in out
    assert "Traceback" not in err
    with _at_work(url, tmp_path, "s6") as (process, _):
        process.kill()
    assert "s6_botdata" not in value(url, _WITH_TOOL)
    done = command("fleet", "upgrade", "--create-from", "names", DATABASE_URL=url)
    assert done.code == 0, done.err
    assert sorted(value(url, _WITH_TOOL)) == [f"s{number}_botdata" for number in range(1, 7)]
    for number in range(2, 7):
        assert _contents(url, f"s{number}") == _contents(url, "s1")


@pytest.mark.soak
def test_many_are_made_though_it_is_killed_amid(command: Command, fresh_database: str, tmp_path: Path) -> None:
    url, many = fresh_database, 60
    (tmp_path / "names").write_text("\n".join(f"s{number}" for number in range(many)))
    made = _MADE.replace("array_agg(nspname ORDER BY nspname)", "count(*)") + "relname = 'alembic_version'"
    for at in (many // 4, many // 2):
        process = start("fleet", "upgrade", "--create-from", "names", directory=tmp_path, DATABASE_URL=url)
        wait_beside(process, lambda at=at: value(url, made) >= at)  # type: ignore[misc]
        process.kill()
        process.communicate()
    done = _document(command("fleet", "upgrade", "--create-from", "names", "--json", DATABASE_URL=url).out)
    assert done.pop("ok")
    outcomes = [one["outcome"] for one in done.values()]
    assert len(outcomes) == many
    assert many // 2 - 2 <= outcomes.count("at the head") < many
    assert command("fleet", "status", DATABASE_URL=url).code == 0
    assert {len(_contents(url, f"s{number}")) for number in range(many)} == {len(_contents(url, "s0"))}
