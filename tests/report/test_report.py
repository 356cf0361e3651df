"""`botdata report`: what it tells, what it never tells, and `--check`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.report.facts import read_limits
from app.report.page import render
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.migration.engine import add_clients, execute, tables, value
from tests.report.making import SECRETS, hostile_report, remember, report_of
from tests.support.page_server import PageServer

_CLIENTS = ("--tables", "clients")


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    """A source with 40 clients, and a target that has them, too."""
    for url in (source_database, database_url):
        add_clients(url, 40)
        execute(url, "UPDATE clients SET created_at = '2025-01-01 00:00Z', updated_at = '2025-01-01 00:00Z'")
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


def embedded(page: str) -> Any:
    """The facts in a page."""
    found = re.search(r'<script type="application/json" id="botdata-report">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_page_and_document_tell_the_same(command: Command, settings: dict[str, str], tmp_path: Path) -> None:
    assert command("verify", *_CLIENTS, **settings).code == 0
    outcome = command("report", *_CLIENTS, "--output", "r.html", "--json", **settings, LANG="ru_RU.UTF-8")
    assert outcome.code == 0, outcome.err
    document = check_document(outcome.out, "report")
    page = (tmp_path / "r.html").read_text()
    assert '<html lang="ru">' in page
    assert embedded(page) == document["report"]
    (clients,) = document["report"]["tables"]
    assert (clients["rows"], clients["equal"], clients["verified"]["differences"]) == (40, True, 0)
    assert clients["source"]["hash"] == clients["target"]["hash"]
    assert sum(rows for _, rows, _ in clients["target"]["buckets"]) == 40
    assert document["report"]["limits"] == read_limits()
    assert [point["point"] for point in document["report"]["open"]] == ["no_inventory"]
    assert document["report"]["steps"][-1]["step"] == "verify"
    told = command("report", "--kept", "--language", "en", *_CLIENTS, "--output", "kept.json", **settings)
    assert told.out.splitlines()[0] == "open: no inventory was taken of what a project holds beside its rows"
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert (kept["read"], kept["tables"][0]["target"]) == ("nothing", clients["target"])


@pytest.mark.first_command
def test_what_is_missing_is_said(command: Command, settings: dict[str, str], tmp_path: Path) -> None:
    execute(settings["DATABASE_URL"], "UPDATE clients SET name = 'other' WHERE id = 7")
    outcome = command("report", *_CLIENTS, **settings, LANG="C")
    assert outcome.code == 0, outcome.err
    (file,) = tmp_path.glob("botdata-report-????-??-??-??????.html")
    assert f"report: {file}" in outcome.out
    page = file.read_text()
    for told in (
        "No verify has run.",
        "No step has run.",
        "No reads were compared.",
        "No inventory was taken",
        ">differ<",
    ):
        assert told in page
    assert "tables whose hashes differ between the sides: 1" in page
    assert "tables that no verify has compared in full: 1" in page
    document = json.loads(command("report", *_CLIENTS, "--target-only", "--json", **settings).out)["report"]
    assert (document["tables"][0]["equal"], document["read"]) == (None, "the target")


async def test_nothing_personal_and_no_secret_is_in_it(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 3)
    execute(source_database, "UPDATE clients SET phone = '79684484488'")
    facts = await hostile_report(pages, source_database, database_url)
    for text in (json.dumps(facts), json.dumps(facts, ensure_ascii=False), render(facts, "en"), render(facts, "ru")):
        assert [secret for secret in SECRETS if secret in text] == []
        assert re.search(r"79\d{9}", re.sub(r"[0-9a-f]{64}", "", text)) is None
        assert "4484488" not in re.sub(r"[0-9a-f]{64}", "", text)
    page = render(facts, "en")
    assert page.count("<script") == 1  # the facts, in which each < is escaped
    assert "7968***4488" in page
    assert "2026-03-04" in page


def test_check_finds_a_changed_row_and_its_bucket(
    command: Command, settings: dict[str, str], source_database: str, tmp_path: Path
) -> None:
    target = settings["DATABASE_URL"]
    for name in ("r.html", "r.json"):
        assert command("report", *_CLIENTS, "--output", name, **settings).code == 0
        same = command("report", "--check", name, **settings)
        assert (same.code, same.out.splitlines()[:2]) == (
            0, ["clients, source: unchanged, 40 rows", "clients, target: unchanged, 40 rows"],
        )  # fmt: skip
    execute(target, "UPDATE clients SET name = 'x' WHERE id = 7")
    found = check_document(command("report", "--check", "r.html", "--json", **settings).out, "report --check")
    assert found["ok"] is False
    (clients,) = found["tables"]
    assert (clients["verdict"], clients["source"]["verdict"], clients["target"]["verdict"]) == (
        "changed", "unchanged", "changed",
    )  # fmt: skip
    (bucket,) = clients["target"]["buckets"]
    kept = json.loads((tmp_path / "r.json").read_text())["tables"][0]["target"]["buckets"]
    rows = {number: rows for number, rows, _ in kept}
    assert rows[bucket["bucket"]] == bucket["rows_then"] == bucket["rows_now"]
    told = command("report", "--check", "r.html", "--target-only", **settings)
    assert told.code == 1
    assert told.out.splitlines()[0].startswith("clients, target: changed since: 40 rows then, 40 now; rows by bucket: ")
    execute(target, "UPDATE clients SET name = 'name7' WHERE id = 7")
    assert command("report", "--check", "r.html", **settings).code == 0
    execute(source_database, "DELETE FROM clients WHERE id = 3")
    assert (
        "clients, source: changed since: 40 rows then, 39 now" in command("report", "--check", "r.html", **settings).out
    )


def test_a_report_that_cannot_be_written_leaves_the_one_that_is_there(
    command: Command, settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "r.html").write_text("the one of before")
    (tmp_path / "link.html").symlink_to("r.html")
    (tmp_path / "r.html.part").mkdir()
    outcome = command("report", *_CLIENTS, "--output", "link.html", **settings)
    assert outcome.code == 1
    assert (tmp_path / "link.html").read_text() == "the one of before"
    (tmp_path / "r.html.part").rmdir()
    assert command("report", *_CLIENTS, "--output", "link.html", **settings).code == 0
    assert (tmp_path / "link.html").is_symlink()
    assert "botdata" in (tmp_path / "r.html").read_text()


def test_check_without_the_source(command: Command, settings: dict[str, str], pages: PageServer) -> None:
    assert command("report", "--tables", "clients,messages", "--output", "r.html", **settings).code == 0
    pages.stop()
    gone = command("report", "--check", "r.html", **settings)
    assert gone.code == 1
    lines = gone.out.splitlines()
    assert [line for line in lines if ", source: not checkable: the source (SUPABASE_URL)" in line] == lines[0:4:2]
    assert lines[-1].startswith("NOT all unchanged since ")
    assert lines[-1].endswith(": 2 not checkable")
    stopped = command("report", *_CLIENTS, **settings)
    assert stopped.code == 1
    assert "once the source is gone: botdata report --tables clients --target-only" in stopped.err
    only = {"DATABASE_URL": settings["DATABASE_URL"]}  # as after Supabase was deleted
    alone = command("report", "--check", "r.html", "--target-only", **only)
    assert (alone.code, alone.out.splitlines()[0]) == (0, "clients, target: unchanged, 40 rows")
    execute(settings["DATABASE_URL"], "DROP TABLE messages; ALTER TABLE clients DROP COLUMN notes")
    said = command("report", "--check", "r.html", "--target-only", **only)
    assert said.code == 1
    assert "messages, target: not checkable: the target has no table public.messages" in said.out


def test_check_refuses_what_is_no_report_of_this_target(
    command: Command, settings: dict[str, str], tmp_path: Path
) -> None:
    assert command("report", *_CLIENTS, "--output", "r.json", **settings).code == 0
    facts = json.loads((tmp_path / "r.json").read_text())

    def refused(text: str) -> str:
        (tmp_path / "other.json").write_text(text)
        outcome = command("report", "--check", "other.json", **settings)
        assert outcome.code == 1
        return outcome.err

    for text in ("", "[]", "{}", "<html>", '{"kind": "x", "version": 1}', "[" * 100_000, '{"kind":"botdata report"}'):
        assert "is not a report of botdata" in refused(text), text[:20]
    broken = {
        **facts,
        "tables": [{**facts["tables"][0], "target": {"columns": [], "rows": 1, "buckets": {"1": [1, "z"]}}}],
    }
    assert "is not a report of botdata" in refused(json.dumps(broken))
    assert "made by a newer botdata" in refused(json.dumps({**facts, "version": 2}))
    assert "of another target" in refused(json.dumps({**facts, "hashes": {**facts["hashes"], "key": "0" * 16}}))
    assert command("report", "--check", "nowhere.html", **settings).code == 2
    assert command("report", "--check", "r.json", "--output", "x.html", **settings).code == 2
    assert command("report", "--output", "no/such/place.html", **settings).code == 2
    (tmp_path / "other.json").write_text(json.dumps({**facts, "tables": []}))  # where no table could be moved
    empty = command("report", "--check", "other.json", **settings)
    assert (empty.code, empty.out.splitlines()[-1][:4]) == (1, "NOT ")
    execute(settings["DATABASE_URL"], "DROP SCHEMA botdata CASCADE")
    outcome = command("report", "--check", "r.json", **settings)
    assert (outcome.code, "of another target" in outcome.err) == (1, True)


def test_secrets_of_the_settings_are_masked_in_texts(command: Command, settings: dict[str, str]) -> None:
    target = settings["DATABASE_URL"].replace("postgres@", "postgres:password%2Dof-the-database@")
    remember(target, f"it was {settings['SUPABASE_KEY']}, and password-of-the-database or password%2Dof-the-database")
    document = command("report", *_CLIENTS, "--json", **{**settings, "DATABASE_URL": target}).out
    reasons = {move["reason"] for move in json.loads(document)["report"]["moves"]}
    assert reasons == {None, "it was ***, and *** or ***"}


async def test_a_count_that_is_not_the_rows_shows(pages: PageServer, settings: dict[str, str]) -> None:
    from tests.migration.engine import hiding

    pages.hook = hiding("9")
    facts = await report_of(pages, settings["DATABASE_URL"], tables("clients"))
    (clients,) = facts["tables"]
    assert (clients["source"]["rows"], clients["source"]["counted"], clients["equal"]) == (39, 40, False)
    assert {"point": "counted_otherwise", "count": 1} in facts["open"]


async def test_verifies_are_steps_and_so_are_unfinished_runs(pages: PageServer, settings: dict[str, str]) -> None:
    target = settings["DATABASE_URL"]
    insert = (
        "INSERT INTO botdata.verifications (source, table_name, began_at, ended_at, differences) VALUES "
        "('s', 'a', '2026-01-01 10:00Z', '2026-01-01 10:09Z', 0), "
        "('s', 'b', '2026-01-01 10:05Z', '2026-01-01 10:10Z', 2), "
        "('s', 'a', '2026-01-01 11:00Z', '2026-01-01 11:01Z', 0)"
    )
    execute(target, insert)
    remember(target)
    facts = await report_of(pages, target, tables("clients"))
    seen = [(one["step"], one["seconds"], one["tables"], one["differences"]) for one in facts["steps"]]
    assert seen == [("verify", 600.0, 2, 2), ("verify", 60.0, 1, 0), ("sync", None, None, None)]
    assert (facts["moves"][2]["state"], facts["moves"][3]["reason"]) == ("given up", "the client asked for it")
    assert [(one["field"], one["ended"]) for one in facts["comparisons"]["accepted"]] == [
        ("notes", True), ("phone", False),
    ]  # fmt: skip
    page = render(facts, "en")
    assert page.count("Forced, because:") == sum(one["forced"] for one in facts["moves"]) == 2
    assert page.count("over: they count again") == page.count("Known differences") == 1
    assert value(target, "SELECT count(*) FROM botdata.digests") == 2


def test_a_disk_that_is_full_is_told_with_the_file_and_nothing_is_left(
    command: Command, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for file in ("/dev/full", "r.html"):
        with monkeypatch.context() as full:
            full.setattr(Path, "replace", refuse)
            outcome = command("report", "--kept", *_CLIENTS, "--output", file, **settings)
        assert outcome.code == 1
        assert f"the report cannot be written to {file}: No space left on device" in outcome.err
        assert outcome.err.endswith("make room, or name another file, then: botdata report --tables clients\n")
    assert list(tmp_path.iterdir()) == []
