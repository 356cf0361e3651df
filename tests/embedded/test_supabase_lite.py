"""The Supabase-compatible server: its keys, its row cap, what row-level security hides, and its installation."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from app.embedded import EmbeddedPostgres, EmbeddedServerError, SupabaseLite, node, prepare_supabase_roles
from tests.support.supabase import SupabaseServer, SupabaseServers

# Starts both servers, says the REST server's URL, and waits to be killed.
PROGRAM = """
import sys, time
from pathlib import Path
from app.embedded import EmbeddedPostgres, SupabaseLite

directory = Path(sys.argv[1])
postgres = EmbeddedPostgres.start(directory / "postgres", durable=False)
postgres.create_database("shop")
print(SupabaseLite.start(postgres, "shop", directory / "lite").url, flush=True)
time.sleep(60)
"""


def fill(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE open_rows (id int PRIMARY KEY, name text)")
        connection.execute("INSERT INTO open_rows SELECT n, 'Анна ' || n FROM generate_series(1, 20) AS n")
        connection.execute("CREATE TABLE hidden_rows (id int PRIMARY KEY)")
        connection.execute("ALTER TABLE hidden_rows ENABLE ROW LEVEL SECURITY")
        connection.execute("INSERT INTO hidden_rows VALUES (1), (2)")


@pytest.fixture(scope="module")
def shop(supabase_server_factory: SupabaseServers) -> SupabaseServer:
    """A Supabase of twenty open and two hidden rows, which sends at most seven at once."""
    return supabase_server_factory(fill, max_rows=7)


def get(server: SupabaseServer | SupabaseLite, path: str, key: str | None, **headers: str) -> httpx.Response:
    credentials = {"apikey": key, "Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(f"{server.url}/rest/v1/{path}", headers={**credentials, **headers}, trust_env=False)


def test_an_answer_holds_no_more_rows_than_the_cap(shop: SupabaseServer) -> None:
    answer = get(shop, "open_rows?select=id&order=id&limit=15", shop.service_key, Prefer="count=exact")
    assert [row["id"] for row in answer.json()] == [1, 2, 3, 4, 5, 6, 7]
    assert answer.headers["content-range"] == "0-6/20"


def test_text_passes_unharmed(shop: SupabaseServer) -> None:
    answer = get(shop, "open_rows?id=eq.20", shop.service_key)
    assert answer.json() == [{"id": 20, "name": "Анна 20"}]


@pytest.mark.parametrize("key", [None, "sb_secret_wrong", "sb_publishable_wrong"])
def test_a_wrong_key_is_refused(shop: SupabaseServer, key: str | None) -> None:
    assert get(shop, "open_rows", key).status_code == httpx.codes.UNAUTHORIZED


def test_row_level_security_hides_rows_from_the_publishable_key(shop: SupabaseServer) -> None:
    assert get(shop, "hidden_rows?order=id", shop.service_key).json() == [{"id": 1}, {"id": 2}]
    hidden = get(shop, "hidden_rows", shop.publishable_key, Prefer="count=exact")
    assert hidden.is_success
    assert hidden.json() == []
    assert hidden.headers["content-range"] == "*/0"
    assert len(get(shop, "open_rows", shop.publishable_key).json()) == 7


def test_a_new_table_is_known_after_a_reload(shop: SupabaseServer) -> None:
    with psycopg.connect(shop.database_url) as connection:
        connection.execute("CREATE TABLE later AS SELECT 1.10::numeric AS price")
    assert get(shop, "later", shop.service_key).status_code == httpx.codes.NOT_FOUND
    shop.reload_schema()
    assert get(shop, "later?select=price::text", shop.service_key).json() == [{"price": "1.10"}]


def test_keys_can_be_given(embedded: EmbeddedPostgres, tmp_path: Path) -> None:
    fill(embedded.create_database("given_keys", replace=True))
    with SupabaseLite.start(
        embedded, "given_keys", tmp_path, service_key="sb_secret_given", publishable_key="sb_publishable_given"
    ) as server:
        assert len(get(server, "hidden_rows", "sb_secret_given").json()) == 2
        assert get(server, "hidden_rows", "sb_publishable_given").json() == []
        assert len(get(server, "open_rows", "sb_secret_given").json()) == 20
    with pytest.raises(httpx.ConnectError):
        get(server, "open_rows", "sb_secret_given")
    server.stop()


def test_rights_are_granted_before_several_requests_can_come_at_once(
    embedded: EmbeddedPostgres, tmp_path: Path
) -> None:
    database_url = embedded.create_database("protected", replace=True)
    fill(database_url)
    with (
        SupabaseLite.start(embedded, "protected", tmp_path) as server,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        granted = "SELECT xmin::text FROM pg_class WHERE relname = 'hidden_rows'"  # another after each GRANT
        before = connection.execute(granted).fetchone()
        assert len(get(server, "hidden_rows", server.service_key).json()) == 2
        assert connection.execute(granted).fetchone() == before


def test_any_database_name_will_do(embedded: EmbeddedPostgres, tmp_path: Path) -> None:
    name = 'салон "1/2" %41'
    fill(embedded.create_database(name, replace=True))
    with SupabaseLite.start(embedded, name, tmp_path) as server:
        assert len(get(server, "open_rows", server.service_key).json()) == 20


def test_roles_are_prepared_as_in_a_hosted_supabase(embedded: EmbeddedPostgres) -> None:
    url = embedded.create_database("roles", replace=True)
    for _ in range(2):
        prepare_supabase_roles(url)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE made_later (id serial)")
        bypasses = connection.execute(
            "SELECT rolname, rolbypassrls, rolcanlogin FROM pg_roles"
            " WHERE rolname IN ('anon', 'authenticated', 'service_role') ORDER BY rolname"
        ).fetchall()
        for role in ("anon", "authenticated", "service_role"):
            connection.execute(f"SET LOCAL ROLE {role}")
            connection.execute("INSERT INTO made_later DEFAULT VALUES")
        assert connection.execute("SELECT count(*) FROM made_later").fetchone() == (3,)
    assert bypasses == [("anon", False, False), ("authenticated", False, False), ("service_role", True, False)]


def test_two_databases_of_a_server_may_be_prepared_at_once(server_directory: Path) -> None:
    waits = "SELECT FROM pg_stat_activity WHERE datname = 'two' AND wait_event_type = 'Lock'"
    with EmbeddedPostgres.start(server_directory, durable=False) as server, ThreadPoolExecutor(1) as beside:
        one, two = (server.create_database(name) for name in ("one", "two"))
        with psycopg.connect(one) as first, psycopg.connect(one, autocommit=True) as watcher:
            first.execute("CREATE ROLE anon NOLOGIN")
            preparing = beside.submit(prepare_supabase_roles, two)
            for _ in range(1200):
                if preparing.done() or watcher.execute(waits).fetchone() is not None:
                    break
                time.sleep(0.05)
            first.commit()
        preparing.result(60)


def test_it_dies_with_the_program(server_directory: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(server_directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        assert httpx.get(url, trust_env=False).status_code > 0
        os.kill(program.pid, signal.SIGKILL)
        program.wait(20)
    for _ in range(200):
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            return
    pytest.fail("the server still answers")


@pytest.fixture
def empty_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path / "share" / "botdata"


def test_an_install_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = SupabaseLite.install()
    assert (installed / "node_modules" / "@supabase" / "lite" / "package.json").is_file()
    monkeypatch.setattr(node, "_WHEEL", "no_such_wheel")
    assert SupabaseLite.install() == installed


def test_an_install_broken_off_is_not_taken_for_a_whole_one(
    empty_prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(directory: Path) -> None:
        (directory / "node_modules").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(node, "_npm_ci", half)
        with pytest.raises(KeyboardInterrupt):
            SupabaseLite.install()
    assert list(empty_prefix.iterdir()) == []


def test_npm_s_own_words_come_with_its_failure(empty_prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(empty_prefix / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(EmbeddedServerError, match=r"(?s)npm could not install @supabase/lite:.*ECONNREFUSED"):
        SupabaseLite.install()


def test_a_directory_that_cannot_be_made_is_named(empty_prefix: Path) -> None:
    empty_prefix.parent.write_text("a file where the directory should be")
    with pytest.raises(EmbeddedServerError, match=r"npm packages cannot be installed.*share"):
        SupabaseLite.install()


def test_a_missing_node_is_named(empty_prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_WHEEL", "no_such_wheel")
    with pytest.raises(EmbeddedServerError, match=r"pip install '.\[demo\]'"):
        SupabaseLite.install()


def test_a_server_that_cannot_start_says_why(
    embedded: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SupabaseLite, "install", lambda: tmp_path / "nothing")
    with pytest.raises(EmbeddedServerError, match=r"(?s)ended at its start.*Cannot find module"):
        SupabaseLite.start(embedded, "postgres", tmp_path)


def test_the_lock_file_pins_every_package_and_names_no_registry() -> None:
    lock = json.loads((Path(node.__file__).parent / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages["node_modules/@supabase/lite"]["version"] == "0.10.0"
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []
