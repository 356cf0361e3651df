"""A copy that is killed or interrupted in the middle of a table, and the same command again."""

import re
import signal
from pathlib import Path

import pytest

from tests.cli.command import start, wait_for_sessions_to_end
from tests.migration.engine import add_clients, query, row_texts, value, whole_rows
from tests.support import faults
from tests.support.faults import Delivery, Fault, Request
from tests.support.in_process import run_here
from tests.support.page_server import PageServer

_SECONDS = 60
_WORDS = ["copy", "--tables", "clients,staff"]


def _settings(pages: PageServer, target: str) -> dict[str, str]:
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": target}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_same_command_goes_on_inside_the_table(
    pages: PageServer, source_database: str, database_url: str, tmp_path: Path, how: signal.Signals
) -> None:
    add_clients(source_database, 100)
    pages.max_rows = 10
    hanging = faults.delivered(Delivery.NEVER)

    def hang(request: Request) -> Fault | None:
        whole = "name" in (request.parameter("select") or "")  # preflight reads pages of keys
        return hanging if whole and request.parameter("id") == "gt.60" else None

    pages.hook = hang
    with start(*_WORDS, directory=tmp_path, **_settings(pages, database_url)) as first:
        try:
            for _ in range(_SECONDS * 20):
                pages.stopping.wait(0.05)
                if first.poll() is not None or _committed(database_url) == ["60"]:
                    break
            assert first.poll() is None
            first.send_signal(how)
            out, err = first.communicate(timeout=_SECONDS)
        finally:
            first.kill()
    wait_for_sessions_to_end(database_url)
    assert "Traceback" not in err + out
    if how != signal.SIGKILL:
        assert first.returncode == 130
        assert err.endswith("Stopped. What was done is kept; the same command goes on from there.\n")
    assert query(database_url, "SELECT last_key, pages, inserted, state FROM botdata.checkpoints") == [
        (["60"], 6, 60, "copying")
    ]
    assert value(database_url, "SELECT count(*) FROM clients") == 60

    pages.hook = lambda request: None
    seen = len(whole_rows(pages, "clients"))
    second = run_here(_WORDS, tmp_path, _settings(pages, database_url))
    assert second.code == 0, second.err
    assert re.search(r"run 1, begun [-\d: ]+ UTC, goes on where it stopped\n", second.err)
    assert "copy complete: 100 rows copied" in second.out
    asked = [page.request.parameter("id") for page in whole_rows(pages, "clients")[seen:]]
    # But for the look at the settings: the copy's pages, then those of the comparison, since no types are described.
    assert [one for one in asked if one] == [f"gt.{n}" for n in [*range(60, 101, 10), *range(10, 101, 10)]]
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert query(database_url, "SELECT count(*), max(state) FROM botdata.runs") == [(1, "complete")]
    assert value(database_url, "SELECT nextval('clients_id_seq')") == 101


def _committed(url: str) -> list[str] | None:
    if value(url, "SELECT to_regclass('botdata.checkpoints') IS NULL"):
        return None
    found = query(url, "SELECT last_key FROM botdata.checkpoints")
    return found[0][0] if found else None
