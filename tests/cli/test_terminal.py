"""Progress on a terminal: live bars, and nothing that a value could do to the terminal."""

import os
import subprocess
from pathlib import Path

from app.cli.output import plain
from tests.cli.command import BOTDATA
from tests.migration.engine import add_clients, value
from tests.support.page_server import PageServer


def test_live_bars(pages: PageServer, source_database: str, database_url: str, tmp_path: Path) -> None:
    add_clients(source_database, 40)
    environment = {
        **os.environ, "SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url,
        # A pipe that is taken for a terminal: not every machine that runs the tests has pseudo-terminals.
        "TERM": "xterm", "COLUMNS": "120", "TTY_COMPATIBLE": "1",
    }  # fmt: skip
    arguments = [BOTDATA, "copy", "--tables", "clients"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "━" in done.stderr.decode()
    assert "40/40" in done.stderr.decode()
    assert b"copy complete: 40 rows copied" in done.stdout
    assert value(database_url, "SELECT count(*) FROM clients") == 40


def test_control_characters_are_shown_and_not_sent() -> None:
    assert plain("a\x1b[2Jb\r\n\x07ё😀") == "a\\x1b[2Jb\\x0d\\x0a\\x07ё😀"
