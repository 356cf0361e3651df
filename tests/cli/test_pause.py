"""`botdata pause` and `resume` as a user runs them, beside a copy of its own process; and who shows it."""

import io
import signal
import time
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from app.cli.commands.watch.terminal import rendered
from tests.cli.command import Command, start, wait_beside
from tests.cli.test_json import check_document
from tests.migration.engine import add_clients, execute, row_texts, value
from tests.migration.paced import counted
from tests.support.page_server import PageServer

_SECONDS = 60
_PHONE = "79123456789"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    add_clients(source_database, 300)
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def test_a_pause_outlasts_a_copy_that_is_killed(
    command: Command, pages: PageServer, source_database: str, settings: dict[str, str], tmp_path: Path
) -> None:
    target = settings["DATABASE_URL"]
    copied = "SELECT coalesce(sum(inserted), 0) FROM botdata.checkpoints"
    words = ["copy", "--tables", "clients"]
    with start(*words, "--max-rate", "10", directory=tmp_path, **settings) as killed:
        try:
            wait_beside(killed, lambda: value(target, copied) > 0)
            outcome = command("pause", "--json", "--reason", f"{_PHONE} calls", **settings)
            document = check_document(outcome.out, "pause")
            assert (outcome.code, document["new"], document["paused"]["reason"]) == (0, True, "7912***6789 calls")
            assert document["paces"] == [{"command": "copy", "max_rate": "10 rows/s", "slowdown": 1.0, "held": True}]
        finally:
            killed.kill()
    done = value(target, copied)
    assert 0 < done < 300
    execute(target, "DELETE FROM botdata.paces")  # it could not take its row with it
    with counted(pages) as given, start(*words, directory=tmp_path, **settings) as ended:
        try:
            wait_beside(
                ended, lambda: value(target, "SELECT count(*) FROM botdata.paces WHERE held AND command = 'copy'") > 0
            )
            ended.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, said = ended.communicate(timeout=_SECONDS)
            assert (ended.returncode, time.monotonic() - began < 20) == (130, True)
        finally:
            ended.kill()
    assert "paused by " in said
    assert "7912***6789 calls; to go on: botdata resume\n" in said
    assert not given.seen
    with start(*words, directory=tmp_path, **settings) as last:
        try:
            wait_beside(
                last, lambda: value(target, "SELECT count(*) FROM botdata.paces WHERE held AND command = 'copy'") > 0
            )
            assert value(target, copied) == done
            outcome = command("resume", "--json", **settings)
            assert check_document(outcome.out, "resume")["paces"][0]["command"] == "copy"
            out, said = last.communicate(timeout=_SECONDS)
        finally:
            last.kill()
    assert last.returncode == 0, said
    assert "run 1, begun " in said
    assert "goes on where it stopped" in said
    assert command("verify", "--tables", "clients", **settings).code == 0
    assert row_texts(target, "clients") == row_texts(source_database, "clients")
    for text in (out, said, outcome.out):
        assert _PHONE not in text


def test_status_watch_and_report_show_it(command: Command, settings: dict[str, str], tmp_path: Path) -> None:
    target = settings["DATABASE_URL"]
    assert command("copy", "--tables", "staff", **settings).code == 0
    outcome = command("pause", "--reason", "the shop is busy", **settings)
    assert outcome.code == 0
    assert "nothing is running" in outcome.out
    with psycopg.connect(target, autocommit=True) as working:
        working.execute(
            "INSERT INTO botdata.paces (pid, command, max_rate, slowdown, held) "
            "VALUES (pg_backend_pid(), 'sync', '5 MB/s', 4.24, false)"
        )
        late = command("pause", "--wait", "0", **settings)
        assert (late.code, "Next: botdata status" in late.out) == (1, True)
        lines = (
            "the shop is busy; to go on: botdata resume",
            "sync: reads 5 MB/s at most; asks less often, since the source takes 4.2 times as long as at first; "
            "comes to the end of what it has begun",
        )
        status = command("status", **settings).out
        document = check_document(command("status", "--json", **settings).out, "status")
        assert document["paces"][0]["slowdown"] == 4.2
        watched = check_document(command("watch", "--json", **settings).out, "watch")
        screen = Console(file=io.StringIO(), width=240)
        screen.print(rendered(watched))
        page = tmp_path / "report.html"
        made = command("report", "--tables", "staff", "--language", "en", "--output", str(page), **settings)
        assert made.code in {0, 1}, made.err
    for line in lines:
        assert line in status
        assert line in screen.file.getvalue()  # type: ignore[attr-defined]
    text = page.read_text(encoding="utf-8")
    assert "Paused by " in text
    assert "the shop is busy" in text
    assert "5 MB/s" in text
    assert "4.2 times as long" in text
    ended = command("resume", **settings)
    assert "the shop is busy has ended" in ended.out
    assert "nothing is running" in ended.out
    assert "nothing was paused" in command("resume", **settings).out


@pytest.mark.parametrize("rate", ["0", "-1", "5 GB", "fast", "0MB", "2000 rows/s", "1e3"])
def test_a_rate_that_is_none(command: Command, settings: dict[str, str], rate: str) -> None:
    outcome = command("copy", "--max-rate", rate, **settings)
    assert outcome.code == 2
    assert "such as 2000, or megabytes a second, such as 5MB" in " ".join(outcome.err.split())


def test_the_rate_is_repeated_in_the_next_command(command: Command, settings: dict[str, str]) -> None:
    execute(settings["DATABASE_URL"], "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (1, 1, 1, '7')")
    outcome = command("copy", "--max-rate", "5MB", "--tables", "clients", **settings)
    assert (outcome.code, "--max-rate 5MB" in outcome.err) == (1, True), outcome.err


def test_a_target_without_the_tools_schema(command: Command, fresh_database: str) -> None:
    for word in ("pause", "resume"):
        outcome = command(word, DATABASE_URL=fresh_database)
        assert (outcome.code, "no run has begun there" in outcome.err) == (1, True)
