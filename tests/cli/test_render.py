"""One report is shown as its document or in words, and its exit code is the document's."""

import io
import json
import re

import pytest
import typer
from rich.console import Console

from app.cli import render
from app.cli.render import Table, Words, cell, document, first, say_words, show


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12345, "12,345"), (0, "0"), (1.25, "1.2"), (None, "-"), (True, "yes"), (False, "no"), ([1, 2], "2"), ("a", "a")],
)
def test_a_value_of_a_document_in_words(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_words_are_lines_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    tables = [{"table": "clients", "rows": 12345, "more": 1}, {"table": "staff", "rows": 7, "more": 2}]
    found = document("copy", ok=True, tables=tables)
    show(found, [Table.of(found["tables"], {"table": "table", "rows": "copied"}), "that is all"], as_json=False)
    lines = ["table    copied", "clients  12,345", "staff         7", "that is all"]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_value_makes_no_other_line_longer(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=io.StringIO(), force_terminal=terminal, width=80, highlight=False, soft_wrap=True)
    monkeypatch.setattr(render, "console", lambda: shown)
    say_words([Table(["column", "value"], [["id", "7"], ["text", "x" * 500]])])
    printed = re.sub(r"\x1b\[[0-9]*m", "", shown.file.getvalue())
    assert printed.splitlines() == ["column  value", "id      7", f"text    {'x' * 500}"]


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_not_well_ends_with_its_code(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    def words() -> Words:
        assert not as_json, "words that nobody sees are not made"
        yield "two rows differ"

    with pytest.raises(typer.Exit) as ended:
        show(document("verify", ok=False), words(), as_json, code=3)
    out = capsys.readouterr().out
    assert ended.value.exit_code == 3
    assert json.loads(out) == {"command": "verify", "ok": False} if as_json else out == "two rows differ\n"


def test_of_many_lines_the_first_and_how_many_more() -> None:
    assert list(first(["a", "b"], most=2)) == ["a", "b"]
    assert list(first(["a"] * 1234, "and {:,} more", most=1)) == ["a", "and 1,233 more"]
