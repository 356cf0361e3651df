"""What a command loads before its first row."""

from pathlib import Path

from tests.cli.command import start
from tests.support.page_server import PageServer

_NOT_NEEDED = {"alembic", "mako", "supabase", "storage3", "realtime"}


def test_a_copy_imports_nothing_that_it_does_not_need(pages: PageServer, database_url: str, tmp_path: Path) -> None:
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    command = start("copy", "--tables", "staff", directory=tmp_path, PYTHONPROFILEIMPORTTIME="1", **settings)
    _, err = command.communicate(timeout=60)
    lines = [line for line in err.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert command.returncode == 0, err
    assert "psycopg" in imported
    assert not imported & _NOT_NEEDED
