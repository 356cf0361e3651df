"""What commands print: a report, as a document for `--json` or in words made of it; and errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from app.errors import BotdataError, MigrationError

if TYPE_CHECKING:  # what is heavy is imported where it is used: the help is to be there at once
    from rich.console import Console


Document = dict[str, Any]
SHOWN = 20  # members of a list that words show; the document has all of them


@dataclass(frozen=True, slots=True)
class Table:
    """A table among the words.

    Attributes:
        rows: of values as a document has them, see `cell`.
        numbers: the columns that are aligned to the right.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbers: Collection[int] = ()

    @classmethod
    def of(cls, documents: Iterable[Document], headings: Mapping[str, str], *, texts: int = 1) -> Table:
        """The fields of documents that have a heading; the first `texts` of them are no numbers."""
        rows = [[one[field] for field in headings] for one in documents]
        return cls(list(headings.values()), rows, range(texts, len(headings)))


Words = Iterable[str | Table]  # lines, and tables between them


def cell(value: Any) -> str:
    """A value of a document in words: counts with commas, seconds with one decimal, of a list how many it holds."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return f"{len(value):,}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show(found: Document, words: Words, as_json: bool, *, beside: bool = False, code: int = 1) -> None:
    """Show what a command found as its document or in words, and end the command where it is not `ok`.

    Args:
        beside: the words are said with `--json` too, on standard error.
        code: the exit code of that end.
    """
    if beside or not as_json:
        say_words(words)
    if as_json:
        show_json(found)
    if not found["ok"]:
        raise typer.Exit(code)


def say_words(words: Words) -> None:
    """Print them."""
    for one in words:
        if isinstance(one, Table):
            show_table(one.headings, [list(map(cell, row)) for row in one.rows], numbers=one.numbers)
        else:
            say(one)


def first(lines: Sequence[str], rest: str = "... and {:,} more", *, most: int = SHOWN) -> Iterator[str]:
    """The first of many lines, and how many more there are."""
    yield from lines[:most]
    if len(lines) > most:
        yield rest.format(len(lines) - most)


def document(command: str, *, ok: bool, **fields: Any) -> Document:
    """A command's document for `--json`; docs/json.md has the fields of each."""
    return {"command": command, "ok": ok, **fields}


def reason(refused: Document) -> str:
    """Why the target refused a row: its code, and the constraint or column where PostgreSQL named one."""
    return f"SQLSTATE {refused['sqlstate']}" + (f" ({refused['place']})" if refused["place"] else "")


def moment(at: datetime | None) -> str | None:
    """A moment as documents give it."""
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def rounded(number: float | None, digits: int = 3) -> float | None:
    """A number as documents give it; None where it is not known."""
    return None if number is None else round(number, digits)


def show_error(error: BotdataError, command: str, as_json: bool) -> None:
    """Say on standard error what stopped a command, where, what was done, what is pending and what to run next.

    The document has the same fields for every error, null where one says nothing.
    """
    parts: Document = {part: getattr(error, part, None) for part in ("step", "table", "done", "pending")}
    next_step = getattr(error, "next_step", None)
    parts["next"] = None if next_step is None else str(next_step)
    message, lines = str(error), [f"botdata: {error}"]
    if isinstance(error, MigrationError):
        message, step = error.message, f" {error.step}" if error.step else ""
        said = [f"  {part + ':':<9}{parts[part]}" for part in ("table", "done", "pending", "next") if parts[part]]
        lines = [f"botdata{step} stopped: {message}", *said]
    for line in lines:
        complain(line)
    if as_json:
        show_json(document(command, ok=False, error={"message": message, **parts}))


def show_json(found: Document) -> None:
    """Print one JSON document to standard output, in plain ASCII where its encoding does not hold every character.

    Characters that are not for printing are escaped: JSON itself would let through those of U+007F and above.
    """
    import json  # here, since the help needs none of it

    holds_all = (sys.stdout.encoding or "").lower().startswith("utf")
    written = json.dumps(found, ensure_ascii=not holds_all, indent=2)
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in written) + "\n")


_WIDTH, _WIDEST = 240, 10_000
# One long value would make each line of its table as long, which a terminal wraps; its style may end after them.
_BLANKS_AT_THE_END = re.compile(r" +((?:\x1b\[0m)?)$", re.MULTILINE)


@cache
def console() -> Console:
    """Where words go; wide, so that a table is never cut or folded: a narrower terminal wraps its lines."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, emoji=False, width=_WIDTH)


@cache
def errors() -> Console:
    """Where progress and complaints go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[int] = ()) -> None:
    """Print a table; `numbers` are the columns that are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    to = console()
    to.width = max(_WIDTH, to.measure(table, options=to.options.update(max_width=_WIDEST)).maximum)
    with to.capture() as printed:
        to.print(table)
    to.file.write(_BLANKS_AT_THE_END.sub(r"\1", printed.get()))


def say(text: str = "") -> None:
    """Print one line to standard output."""
    console().print(plain(text), markup=False)


def plain(text: str) -> str:
    """Text from a database made harmless for a terminal: control characters are shown, not sent."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def keep_output_for_document() -> None:
    """With `--json`, words go to standard error, whoever says them."""
    console().stderr = True


def complain(text: str) -> None:
    """Print lines to standard error."""
    for line in text.splitlines():
        errors().print(plain(line), markup=False)
