"""Supabase's users come along with --with-auth: moved both ways, and none of their values kept anywhere else."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adopt.adopting import Adopted, adopt
from tests.adopt.conftest import load
from tests.cli.command import Command, Outcome
from tests.migration.engine import execute, query, value
from tests.migration.test_keys_only import PLANTED, planted_in
from tests.support.postgres import PostgresServer

_HASH, _PHONE = PLANTED
_SOURCE = f"""
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, encrypted_password text, confirmation_token text,
    raw_user_meta_data jsonb, phone text UNIQUE, confirmed_at timestamptz GENERATED ALWAYS AS (NULL) STORED);
CREATE TABLE auth.identities (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    identity_data jsonb NOT NULL);
CREATE TABLE public.profiles (id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE, nick text);
CREATE FUNCTION public.handle_new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO public.profiles VALUES (new.id, 'from the trigger') ON CONFLICT DO NOTHING; RETURN new;
END $$;
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
INSERT INTO auth.users (id, email, encrypted_password, confirmation_token, raw_user_meta_data, phone)
SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'one' || n || '@example.test', '{_HASH}' || n,
    'token' || n, jsonb_build_object('phone', '{_PHONE}'), '{_PHONE}' || n FROM generate_series(1, 5) n;
INSERT INTO auth.identities SELECT id, id, jsonb_build_object('phone', phone) FROM auth.users;
UPDATE public.profiles SET nick = 'of the source'; DELETE FROM public.profiles WHERE id::text LIKE '%5';
"""
# It refuses a row with a message that quotes it.
_REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.email LIKE 'refused%' THEN RAISE EXCEPTION 'no % %', new.encrypted_password, new.phone; END IF; RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE auth.users ENABLE ALWAYS TRIGGER refuse;
"""
_ROWS = "SELECT u::text FROM {} u ORDER BY 1"
_MOVED = "SELECT id, email, encrypted_password, raw_user_meta_data::text, phone FROM auth.users ORDER BY id"


@pytest.fixture(scope="module")
def project(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, Adopted]]:
    """The source, and the directory that it was adopted into."""
    source = postgres_server.create_database()
    load(source, _SOURCE)
    directory = tmp_path_factory.mktemp("users") / "project"
    yield source, directory, adopt(source, directory, "--with-auth", target=postgres_server.admin_url)
    postgres_server.drop_database(source)


def test_users_are_moved_there_and_back_and_their_values_kept_nowhere(
    project: tuple[str, Path, Adopted],
    fresh_database: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, directory, adopted = project
    assert adopted.code == 0, adopted.said
    assert '"info": {"keys_only": True, "left_out": ["confirmation_token"]}' in (
        directory / "models/auth_users.py"
    ).read_text("utf-8")
    monkeypatch.chdir(directory)
    caplog.set_level("DEBUG")
    outcomes: list[Outcome] = []

    def run(line: str, *, code: int = 0, **more: str) -> str:
        outcome = command(*shlex.split(line), DATABASE_URL=fresh_database, MIGRATION_SOURCE=source, **more)
        assert outcome.code == code, f"{line}: {outcome.out}{outcome.err}"
        outcomes.append(outcome)
        return outcome.out

    # The trigger came along, and was silent.
    run("migrate")
    run("sync")
    run("verify")
    assert query(fresh_database, _MOVED) == query(source, _MOVED)
    assert value(fresh_database, "SELECT count(confirmation_token) FROM auth.users") == 0
    for table in ("auth.identities", "public.profiles"):
        assert query(fresh_database, _ROWS.format(table)) == query(source, _ROWS.format(table))
    assert query(fresh_database, "SELECT nick FROM profiles GROUP BY 1") == [("of the source",)]
    new = (
        "INSERT INTO auth.users (id, email, encrypted_password, phone) VALUES (gen_random_uuid(), '{0}', '{1}', '{2}')"
    )
    execute(fresh_database, new.format("in the target", f"{_HASH}t", f"{_PHONE}t"))
    assert value(fresh_database, "SELECT count(*) FROM profiles WHERE nick = 'from the trigger'") == 1

    # A row that the target refuses, one that is replaced, and those that only the target has.
    execute(fresh_database, _REFUSES)
    execute(source, new.format("refused at the target", f"{_HASH}r", f"{_PHONE}r"))
    execute(source, "UPDATE auth.users SET email = 'changed' WHERE email LIKE 'one1%'")
    said = run("sync", code=1)
    assert "of auth.users, 1 of these: their keys only" in said
    assert run("verify --show-values", code=1)
    run("quarantine export refused.json")
    execute(fresh_database, "DROP TRIGGER refuse ON auth.users")
    assert "only keys of these rows are kept" in run("quarantine replay --tables auth.users", code=1)
    run("sync")
    run("verify")

    # And back: one that only the source has goes from there.
    execute(source, new.format("in the source", f"{_HASH}s", f"{_PHONE}s"))
    execute(fresh_database, "UPDATE auth.users SET email = 'changed again' WHERE email = 'changed'")
    accepted = "--accept source-trigger:auth.users.on_auth_user_created"
    said = run(f"sync --reverse {accepted}", USE_REPOSITORY_PATTERN="true")
    assert "of auth.users, 1 of these: their keys only" in said
    run("verify")

    kept = query(
        fresh_database, "SELECT table_name, array(SELECT json_object_keys(row_text)) FROM botdata.replaced_rows"
    )
    assert [names for table, names in kept if table.startswith("auth.")] == [["id"], ["id"]]
    assert planted_in(fresh_database) == []
    told = {"the log": caplog.text} | {str(number): one.out + one.err for number, one in enumerate(outcomes)}
    told |= {
        str(file): file.read_text("utf-8") for file in directory.rglob("*") if file.is_file() and file.suffix != ".pyc"
    }
    assert "refused.json" in " ".join(told)
    assert [where for where, text in told.items() if any(planted in text for planted in PLANTED)] == []


def test_nobody_gets_rights_on_the_tables_of_users(
    project: tuple[str, Path, Adopted], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    source, _, _ = project
    execute(source, "GRANT SELECT ON auth.users TO pg_monitor; GRANT SELECT ON public.profiles TO pg_monitor")
    adopted = adopt(source, tmp_path / "new", "--with-auth", "--with-grants", target=postgres_server.admin_url)
    assert adopted.code == 0, adopted.said + json.dumps(adopted.document.get("differences"))
    statements = (tmp_path / "new/alembic/versions/0001_schema.sql").read_text("utf-8")
    assert "GRANT SELECT ON TABLE public.profiles TO pg_monitor" in statements
    assert "auth.users TO" not in statements
