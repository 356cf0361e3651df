"""`fleet verify`: each salon against the source that a file names, and what that file has to be."""

from pathlib import Path

import pytest

from tests.cli.command import Command, Outcome
from tests.cli.test_json import check_document
from tests.migration.engine import add_clients, execute
from tests.support.other_schemas import searching
from tests.support.page_server import PageServer

_KEY = "sb_secret_of_the_fleet"


def _lines(done: Outcome) -> dict[str, str]:
    return {line.split()[0]: " ".join(line.split()) for line in done.out.splitlines() if line.startswith("t")}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The file, closed to others."""
    file = tmp_path / "sources.toml"
    file.touch(mode=0o600)
    return file


def test_each_salon_is_compared_with_its_own_source(
    command: Command, salons: str, source_database: str, pages: PageServer, sources: Path
) -> None:
    add_clients(source_database, 5)
    for name in ("t1", "t2"):
        add_clients(searching(salons, name), 5)
    for url in (source_database, searching(salons, "t1"), searching(salons, "t2")):
        execute(url, "UPDATE clients SET created_at = '2026-01-01', updated_at = '2026-01-01'")
    execute(
        salons, "UPDATE t2.clients SET notes = 'changed' WHERE id = 3; UPDATE t3_botdata.stage SET stage = 'complete'"
    )
    over_rest = f'supabase_url = "{pages.url}"\nsupabase_key = "{pages.service_key}"'
    sources.write_text(f'[t1]\n{over_rest}\n[t2]\nsource = "{source_database}"\nsource_schema = "public"\n')
    line = ("fleet", "verify", "--sources", str(sources))
    done = command(*line, DATABASE_URL=salons, SUPABASE_KEY=pages.service_key)
    lines = _lines(done)
    assert done.code == 1
    assert lines["t1"] == "t1 0002 off equal 5 rows"
    assert (
        "t2 0002 off differs clients: 0 missing, 0 extra, 1 different DATABASE_SCHEMA=t2 botdata verify" in lines["t2"]
    )
    assert "t3 0002 complete not compared" in lines["t3"]
    following = done.out.splitlines()[-1].removeprefix("Next: botdata ").split()
    assert following[:5] == [*line, "--since"]
    execute(salons, "UPDATE t2.clients SET notes = NULL WHERE id = 3")
    execute(source_database, "UPDATE clients SET notes = NULL WHERE id = 3")
    execute(searching(salons, "t1"), "UPDATE clients SET notes = NULL WHERE id = 3")
    again = command(*following, DATABASE_URL=salons)
    lines = _lines(again)
    assert again.code == 0, again.out
    assert "t1 0002 off equal before all tables, since 20" in lines["t1"]
    assert lines["t2"] == "t2 0002 off equal 5 rows"
    later = command(*line, "--only", "t1", "--since", "2100-01-01", "--json", DATABASE_URL=salons)
    (t1,) = check_document(later.out, "fleet verify")["salons"]
    assert (t1["outcome"], t1["ok"]) == ("equal", True)
    execute(salons, "CREATE MATERIALIZED VIEW t1.totals AS SELECT count(*) FROM t1.clients WITH NO DATA")
    stale = command(*following, "--only", "t1", DATABASE_URL=salons)
    assert (stale.code, "materialized view t1.totals" in _lines(stale)["t1"]) == (1, True)


def test_what_is_asked_for_and_not_compared_is_a_failure(command: Command, salons: str, sources: Path) -> None:
    execute(salons, "UPDATE t3_botdata.stage SET stage = 'complete'")
    sources.write_text(
        f'[t2]\nsupabase_url = "http://127.0.0.1:1"\nsupabase_key = "{_KEY}"\n'
        f'[t9]\nsource = "postgresql://reader:{_KEY}@127.0.0.1:1/none"\n'
    )
    done = command("fleet", "verify", "--sources", str(sources), DATABASE_URL=salons, SUPABASE_KEY=_KEY)
    lines = _lines(done)
    assert done.code == 1
    assert "no source the file names no source for it add it to the file" in lines["t1"]
    assert "t2 - - failed the source (SUPABASE_URL): Supabase cannot be reached" in lines["t2"]
    assert "the database has no such salon" in lines["t9"]
    nothing = command("fleet", "verify", "--sources", str(sources), "--only", "t3", DATABASE_URL=salons)
    assert (nothing.code, "NOT all was done: nothing was compared" in nothing.out) == (1, True)
    sources.write_text(f'[t1]\nsource = "{salons}"\nsource_schema = "t1"\n')
    itself = command("fleet", "verify", "--sources", str(sources), "--only", "t1", DATABASE_URL=salons)
    assert (itself.code, "no source the file names the salon as its own" in _lines(itself)["t1"]) == (1, True), (
        itself.out
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[t1", "is no TOML"),
        (f't1 = "{_KEY}"', "t1 stands outside of a table"),
        (f'[t1]\nsupabase_key = "{_KEY}"', "[t1]: give either source, or supabase_url and supabase_key"),
        (f'[t1]\nkey = "{_KEY}"\nsource = "postgresql://a/b"', "[t1]: key: Extra inputs are not permitted"),
        ('[t1]\nsource = "postgresql://a/b"\nsource_schema = "T 1"', "source_schema must be of small letters"),
        ('[t1]\nsource = "mysql://a/b"', "source of t1 begins with mysql://"),
        (f'[t1]\nsupabase_url = "http://a"\nsupabase_key = "sb_publishable_{_KEY}"', "a key of the role publishable"),
        (None, "others may read or write it; chmod 600"),
    ],
)
def test_the_file_is_checked_and_not_repeated(
    command: Command, salons: str, sources: Path, text: str | None, said: str
) -> None:
    sources.write_text(text or "")
    if text is None:
        sources.chmod(0o640)
    done = command("fleet", "verify", "--sources", str(sources), "--only", "t1", DATABASE_URL=salons, SUPABASE_KEY=_KEY)
    assert (done.code, said in " ".join((done.err + done.out).split())) == (1, True), done
