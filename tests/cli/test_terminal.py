"""Progress on a terminal: live bars, and nothing that a value could do to the terminal."""

import io
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from app.cli import progress
from app.cli.render import complain, plain, say, show_json
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


HOSTILE = "t \x1b[2J\x9b31m\x7f [bold]x[/] \u202e"


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_sends_no_control_characters(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    written = io.StringIO()
    terminals = Console(file=written, width=200, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(progress, "errors", lambda: terminals)
    with progress.progress("copy") as told:
        told.begin(HOSTILE, 5, 0)
        told.notice(HOSTILE)
        told.advance(HOSTILE, 5)
    # What Rich itself sends to move its bars, and nothing else.
    said = re.sub(r"\x1b\[(\?25[lh]|\d*[AK])|\r", "", written.getvalue())
    assert plain(HOSTILE) in said
    assert not [c for c in said if not (c.isprintable() or c == "\n")]


def test_a_document_holds_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr("sys.stdout", written)
    show_json({"name": f"{HOSTILE}\n\U000e0001 ё😀"})
    text = written.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert json.loads(text) == {"name": f"{HOSTILE}\n\U000e0001 ё😀"}
    assert "ё😀" in text
    assert not [c for c in text if not (c.isprintable() or c == "\n")]


def test_control_characters_are_shown_and_not_sent() -> None:
    assert plain("a\x1b[2Jb\r\n\x07ё😀") == "a\\x1b[2Jb\\x0d\\x0a\\x07ё😀"


def test_a_name_between_colons_is_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    process = "bot-1:100:a1b2c3"  # a machine's, with the number that a process may have there
    say(process)
    complain(process)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"{process}\n", f"{process}\n")
