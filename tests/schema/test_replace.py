"""Replacing Phase 0.8: the backup restores, the session tables stay to the byte, and nothing unknown goes."""

import asyncio
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from app.schema import revisions
from app.schema.replace import Replaced, ReplaceOptions, look, replace
from tests.fixtures.schema import OtherRole
from tests.schema import phase08
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.support.postgres import PostgresServer


async def carry_out(url: str, directory: Path, pg_dump: str | None = "none", lock_timeout: float = 5.0) -> Replaced:
    plan = await look(url)
    return await replace(url, plan, ReplaceOptions(directory, pg_dump, lock_timeout=lock_timeout))


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


async def test_the_schema_is_replaced_while_the_login_writes(old: str, tmp_path: Path) -> None:
    before = phase08.untouched(old)
    with phase08.Login(old) as login:
        done = await carry_out(old, tmp_path / "backup")
        login.wait_for_writes()
    assert phase08.untouched(old) == before
    assert differences(expected_catalog(), read_catalog(old)) == [
        "indexes of whatsapp_keys: idx_whatsapp_keys_company_type: not expected"
    ]
    assert revisions.current(old) == done.revision == revisions.head()
    assert [table.name for table in done.plan.tables] == sorted(
        name for name in phase08.TABLES if "_20" not in name
    ) + sorted(name for name in phase08.TABLES if "_20" in name)
    assert sum(done.backup.rows.values()) == 242
    assert (await look(old)).schema is None


async def test_indexes_of_the_session_tables_keep_nobody_waiting(old: str, tmp_path: Path) -> None:
    """Made inside the transaction, they would lock the login out until its end."""
    execute(
        old,
        "CREATE FUNCTION written() RETURNS integer LANGUAGE sql AS "
        "$f$SELECT max((value->>'n')::integer) FROM public.whatsapp_keys WHERE key_type = 'live'$f$; "
        "CREATE FUNCTION linger() RETURNS event_trigger LANGUAGE plpgsql AS $$ "
        "DECLARE before integer := public.written(); BEGIN IF EXISTS (SELECT FROM "
        "pg_event_trigger_ddl_commands() WHERE object_identity LIKE '%whatsapp%') THEN "
        "WHILE public.written() <= before LOOP PERFORM pg_sleep(0.01); END LOOP; END IF; "
        "END $$; CREATE EVENT TRIGGER linger ON ddl_command_end WHEN TAG IN ('CREATE INDEX') "
        "EXECUTE FUNCTION linger()",
    )
    with phase08.Login(old) as login:
        done = await carry_out(old, tmp_path / "backup")
        login.wait_for_writes()
    assert done.plan.indexes == ()
    assert (await look(old)).indexes == ()


@pytest.mark.parametrize("kind", ["pg_dump archive", "COPY files"])
async def test_the_backup_restores(old: str, empty: str, tmp_path: Path, programs: Path, kind: str) -> None:
    before, catalog = phase08.texts(old, *phase08.TABLES), read_catalog(old)
    directory = tmp_path / "backup"
    done = await carry_out(old, directory, str(programs / "pg_dump") if kind == "pg_dump archive" else "none")
    assert done.backup.kind == kind
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    instructions = (directory / "README.md").read_text(encoding="utf-8")
    block = instructions.partition("```sh\n")[2].partition("```")[0].splitlines()
    commands = [line for line in block if line.startswith(("psql", "pg_restore"))]
    assert len(commands) == (2 if kind == "pg_dump archive" else 1)
    for line in commands:
        await asyncio.to_thread(
            subprocess.run, ["/bin/sh", "-c", line], cwd=directory, check=True, timeout=60, capture_output=True,
            env={"PATH": f"{programs}:/usr/bin:/bin", "DATABASE": empty},
        )  # fmt: skip
    assert phase08.texts(empty, *phase08.TABLES) == before
    restored = read_catalog(empty)
    session = {"cleanup_expired_whatsapp_keys", "get_whatsapp_auth_stats"}
    expected = {
        "tables": {name: table for name, table in catalog["tables"].items() if name not in phase08.BAILEYS},
        "functions": [f for f in catalog["functions"] if "whatsapp" not in f["name"] and f["name"] not in session],
    }
    assert differences(expected, restored) == []
    execute(empty, "INSERT INTO staff (company_id, name) VALUES (1, 'new')")
    assert phase08.texts(empty, "staff")["staff"][-1].startswith("(3,1,")


async def test_rows_that_are_touched_roll_everything_back(old: str, tmp_path: Path) -> None:
    execute(
        old,
        "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE public.whatsapp_keys SET value = '{}' WHERE key_id = '7'; END $$; "
        "CREATE EVENT TRIGGER meddle ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION meddle()",
    )
    before, session = phase08.texts(old, *phase08.TABLES), phase08.untouched(old)
    with pytest.raises(MigrationError, match="the rows of whatsapp_keys were changed") as stopped:
        await carry_out(old, tmp_path / "backup")
    assert str(tmp_path / "backup") in (stopped.value.done or "")
    assert phase08.texts(old, *phase08.TABLES) == before
    assert phase08.untouched(old) == session
    execute(old, "DROP EVENT TRIGGER meddle")
    await carry_out(old, tmp_path / "again")
    assert phase08.untouched(old) == session


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE own_notes (id integer)", "not known: own_notes"),
        ("CREATE VIEW old_clients AS SELECT id FROM clients", "view old_clients"),
        ("CREATE SCHEMA other; CREATE TABLE other.child (id integer REFERENCES clients)", "table other.child"),
        ("CREATE SCHEMA other; CREATE VIEW other.v AS SELECT id FROM clients", "view other.v"),
        ("CREATE FUNCTION one() RETURNS clients LANGUAGE sql AS 'SELECT NULL::clients'", "function one()"),
        ("CREATE TABLE other_child () INHERITS (staff)", "other_child"),
        ("CREATE PUBLICATION changes FOR TABLE clients", "publication of table clients in publication changes"),
        (
            "CREATE SCHEMA other; CREATE TABLE other.t (id integer); CREATE TRIGGER t BEFORE UPDATE ON other.t "
            "FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()",
            "trigger t on table other.t",
        ),
    ],
)
async def test_what_is_not_known_stops_it(old: str, tmp_path: Path, statement: str, named: str) -> None:
    execute(old, statement)
    before = phase08.texts(old, *phase08.TABLES)
    with pytest.raises(MigrationError) as stopped:
        await carry_out(old, tmp_path / "backup")
    assert named in stopped.value.message
    assert stopped.value.pending == "everything; nothing was changed"
    assert not (tmp_path / "backup").exists()
    assert phase08.texts(old, *phase08.TABLES) == before


async def test_a_table_may_be_kept(old: str, tmp_path: Path) -> None:
    execute(old, "CREATE TABLE own_notes AS SELECT 1 AS id")
    plan = await look(old, {"own_notes"})
    assert (plan.unknown, plan.others) == ((), ("own_notes",))
    options = ReplaceOptions(tmp_path / "backup", "none", keep=frozenset({"own_notes"}))
    await replace(old, plan, options)
    assert phase08.texts(old, "own_notes") == {"own_notes": ["(1)"]}


async def test_tables_in_use_stop_it_and_name_the_program(old: str, tmp_path: Path) -> None:
    before = phase08.texts(old, *phase08.TABLES)
    with phase08.held(old, "UPDATE clients SET name = name"), pytest.raises(MigrationError) as stopped:
        await carry_out(old, tmp_path / "backup", lock_timeout=0.2)
    assert "in use: another program (" in stopped.value.message
    assert not (tmp_path / "backup").exists()
    with phase08.held(old, "SELECT FROM clients"), pytest.raises(MigrationError) as stopped:
        await carry_out(old, tmp_path / "backup", lock_timeout=0.2)
    assert "a lock was not granted" in stopped.value.message
    assert phase08.texts(old, *phase08.TABLES) == before


async def test_who_uses_a_clone_of_the_database_is_not_named(
    old: str, databases: PostgresServer, tmp_path: Path
) -> None:
    """Tables of a database and of its clone have equal numbers."""
    clone = databases.create_database(template=old)
    try:
        with phase08.held(old, "UPDATE clients SET name = name"), psycopg.connect(clone) as beside:
            beside.execute("UPDATE clients SET name = name")
            with pytest.raises(MigrationError) as stopped:
                await carry_out(old, tmp_path / "backup", lock_timeout=0.2)
            assert "another program (" in stopped.value.message
            assert f"process {beside.info.backend_pid}" not in stopped.value.message
    finally:
        databases.drop_database(clone)


async def test_writes_wait_while_it_works_and_a_changed_schema_is_looked_at_again(old: str, tmp_path: Path) -> None:
    plan = await look(old)
    execute(old, "CREATE TABLE messages_2027_05 PARTITION OF messages FOR VALUES FROM ('2027-05-01') TO ('2027-06-01')")
    with pytest.raises(MigrationError, match="has changed since it was shown"):
        await replace(old, plan, ReplaceOptions(tmp_path / "backup", "none"))
    assert (await look(old)).tables[-1].name == "messages_2027_05"


async def test_a_sequence_that_no_column_owns_goes_too(old: str, tmp_path: Path) -> None:
    execute(old, "ALTER SEQUENCE messages_id_seq OWNED BY NONE")
    done = await carry_out(old, tmp_path / "backup")
    assert done.plan.sequences == ("messages_id_seq",)
    assert len(differences(expected_catalog(), read_catalog(old))) == 1


@pytest.mark.separate_server
async def test_an_owner_is_needed(old: str, other_role_of_old: OtherRole, tmp_path: Path) -> None:
    execute(old, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {other_role_of_old.name}")
    with pytest.raises(MigrationError, match="does not own appointments_cache, bookings"):
        await carry_out(other_role_of_old.url, tmp_path / "backup")


@pytest.fixture
def other_role_of_old(old: str) -> Iterator[OtherRole]:
    url = make_url(old).update_query_dict({"options": "-crole=replace_tests"})
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute("CREATE ROLE replace_tests")
        yield OtherRole("replace_tests", url.render_as_string(hide_password=False))
        connection.execute("DROP OWNED BY replace_tests; DROP ROLE replace_tests")


async def test_a_pg_dump_older_than_the_server_is_not_used(old: str, tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    program.chmod(0o700)
    (tmp_path / "pg_restore").symlink_to(program)
    with pytest.raises(MigrationError, match="is of version 9; it is to be"):
        await carry_out(old, tmp_path / "backup", str(program))
    assert not (tmp_path / "backup").exists()


async def test_an_incomplete_archive_is_not_trusted(old: str, tmp_path: Path, programs: Path) -> None:
    for name, tail in (("pg_dump", " --exclude-table-data=clients"), ("pg_restore", "")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {programs / name} "$@"{tail}\n')
        (tmp_path / name).chmod(0o700)
    before = phase08.texts(old, *phase08.TABLES)
    with pytest.raises(MigrationError, match="does not hold every row of clients") as stopped:
        await carry_out(old, tmp_path / "backup", str(tmp_path / "pg_dump"))
    assert stopped.value.done == f"an incomplete backup in {tmp_path / 'backup'}, which can be deleted"
    assert phase08.texts(old, *phase08.TABLES) == before
