"""Rows in quarantine as a file that a person edits: JSON Lines, an object a line for each row."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import MetaData

from app.errors import MigrationError
from app.migration.quarantine.quarantined_rows import RefusedRow, choose_tables, read_rows
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.state.runs import quarantine

_NEEDED = {"number", "table", "key", "row"}
_FOR_READERS = {"sqlstate", "message", "place"}
_MISTAKES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What the file changed. Numbers of rows in quarantine."""

    changed: tuple[int, ...]
    unchanged: tuple[int, ...]


async def export_rows(
    target_url: str,
    metadata: MetaData,
    path: Path,
    *,
    tables: Collection[str] | None = None,
    force: bool = False,
) -> int:
    """Write rows with all their values to a new file that only its owner may read; returns how many.

    Without rows no file is made.

    Args:
        force: replace a file that is there.

    Raises:
        MigrationError: the target cannot be read, or there is such a file.
        OSError: the file cannot be written.
    """
    step = "quarantine export"
    count = 0
    async with open_target(target_url, step=step) as connection:
        with explained(step, pending="the export; half a file is not left behind"):
            chosen = await choose_tables(connection, metadata, tables, step=step)
            async with aclosing(read_rows(connection, tables=chosen)) as rows:
                with ExitStack() as opened:
                    file = None
                    async for row in rows:
                        if file is None:
                            file = opened.enter_context(_create(path, force=force, step=step))
                            opened.enter_context(_not_in_half(path))
                        file.write(_written(row))
                        count += 1
    return count


@contextmanager
def _not_in_half(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _create(path: Path, *, force: bool, step: str) -> TextIO:
    if force:
        path.unlink(missing_ok=True)
    try:
        # The mode is there from the start: a file made first and closed to others later could be opened in between.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise MigrationError(
            f"{path} is there already; it may hold edits",
            step=step,
            pending="everything; nothing was written",
            next_step=NextStep("under another name, or with --force to replace it: ", Command(step)),
        ) from None
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _written(row: RefusedRow) -> str:
    fields = {
        "number": row.number,
        "table": row.table,
        "key": list(row.key),
        "sqlstate": row.sqlstate,
        "message": row.message,
        "place": row.place,
        "row": row.row,
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"


async def import_rows(target_url: str, path: Path) -> ImportReport:
    """Put edited rows back into quarantine, all or, where one of them cannot be taken, none.

    Raises:
        MigrationError: the file's mistakes, each with its line.
        OSError: the file cannot be read.
    """
    step = "quarantine import"
    edited = _parse(path, step)
    async with open_target(target_url, step=step, exclusive=True) as connection:
        with explained(step, pending="everything; nothing was written"):
            kept = {row.number: row async for row in read_rows(connection, numbers=[row.number for row in edited])}
            mistakes = [
                f"line {row.line}: {mistake}"
                for row in edited
                if (mistake := _mistake(row, kept.get(row.number))) is not None
            ]
            if mistakes:
                raise _refused(path, mistakes, step)
            changed = [row for row in edited if row.row != kept[row.number].row]
            await quarantine.set_values(connection, [(row.number, row.row) for row in changed])
    numbers = {row.number for row in changed}
    return ImportReport(
        tuple(row.number for row in changed), tuple(row.number for row in edited if row.number not in numbers)
    )


@dataclass(frozen=True, slots=True)
class _EditedRow:
    line: int
    number: int
    table: str
    key: list[str]
    row: dict[str, str | None]


class _TwiceError(ValueError):
    """A name twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found


def _parse(path: Path, step: str) -> list[_EditedRow]:
    """The rows of the file; what can be told without the database is checked."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _refused(path, [f"line {line}: not UTF-8"], step) from error
    rows: dict[int, _EditedRow] = {}
    mistakes: list[str] = []
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        row = _read(written, line)
        if isinstance(row, str):
            mistakes.append(f"line {line}: {row}")
        elif (before := rows.setdefault(row.number, row)) is not row:
            mistakes.append(f"line {line}: row {row.number} is there twice, in line {before.line} too")
    if mistakes:
        raise _refused(path, mistakes, step)
    return list(rows.values())


def _read(written: str, line: int) -> _EditedRow | str:
    """A row of the file, or what is wrong with it in itself."""
    try:
        value = json.loads(written, object_pairs_hook=_once)
    except _TwiceError as error:
        return f"{str(error)!r} is there twice in the row"
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at character {error.colno}"
    except (ValueError, RecursionError):  # a number or a nesting past what Python reads
        return "not a row"
    if not isinstance(value, dict):
        return "not a row: it should be an object with number, table, key and row, on one line"
    if missing := sorted(_NEEDED - set(value)):
        return f"{', '.join(missing)} is missing"
    if unknown := sorted(set(value) - _NEEDED - _FOR_READERS):
        return f"not known: {', '.join(unknown)}"
    number, table, key, row = value["number"], value["table"], value["key"], value["row"]
    if type(number) is not int or not 0 < number < 2**63:
        return "number is not the number of a row"
    if not isinstance(row, dict):
        return "row is not an object of columns"
    for column, text in row.items():
        if text is not None and not isinstance(text, str):
            return f"column {column} is neither a text in quotes nor null"
        if text is not None and not _storable(text):
            return f"column {column} holds a character that PostgreSQL cannot"
    return _EditedRow(line, number, table, key, row)


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _mistake(row: _EditedRow, kept: RefusedRow | None) -> str | None:
    """What keeps an edited row from taking the place of the one in quarantine."""
    if kept is None:
        return f"row {row.number} is not in quarantine"
    if row.table != kept.table:
        return f"row {row.number} is of table {kept.table}, which cannot be changed"
    # A row of a table without a key goes by its content's hash as it was refused, which no column holds.
    key_columns = [name for name, text in zip(kept.row, kept.key, strict=False) if kept.row[name] == text]
    key_columns = key_columns if len(key_columns) == len(kept.key) else []
    if row.key != list(kept.key) or any(row.row.get(name) != kept.row[name] for name in key_columns):
        return f"row {row.number}: its key ({', '.join(key_columns)}) says which row it is and cannot be changed"
    if missing := sorted(set(kept.row) - set(row.row)):
        return f"row {row.number}: columns are missing: {', '.join(missing)}"
    if unknown := sorted(set(row.row) - set(kept.row)):
        return f"row {row.number}: no such columns: {', '.join(unknown)}"
    return None


def _refused(path: Path, mistakes: list[str], step: str) -> MigrationError:
    shown = mistakes[:_MISTAKES_SHOWN]
    if len(mistakes) > len(shown):
        shown.append(f"... and {len(mistakes) - len(shown)} more")
    return MigrationError(
        "\n".join([f"{path} cannot be taken:", *shown]),
        step=step,
        pending="everything; nothing was written",
        next_step=NextStep("correct the file, then: ", Command(step)),
    )
