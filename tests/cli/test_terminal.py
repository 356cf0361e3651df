"""Progress on a terminal: live bars, and nothing that a value could do to the terminal."""

import os
import pty
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
        "TERM": "xterm", "COLUMNS": "120",
    }  # fmt: skip
    ours, theirs = pty.openpty()
    arguments = [BOTDATA, "copy", "--tables", "clients"]
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        drawn = b""
        try:
            while piece := os.read(ours, 4096):
                drawn += piece
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(ours)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert "━" in drawn.decode()
    assert "40/40" in drawn.decode()
    assert b"copy complete: 40 rows copied" in out
    assert value(database_url, "SELECT count(*) FROM clients") == 40


def test_control_characters_are_shown_and_not_sent() -> None:
    assert plain("a\x1b[2Jb\r\n\x07ё😀") == "a\\x1b[2Jb\\x0d\\x0a\\x07ё😀"
