"""What a command leaves as it is, in words and as parts of a document."""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from app.cli.render import SHOWN, Document, first, reason
from app.migration.runs.report import Refusal
from app.migration.sources.moved_tables import WITHOUT_COLUMNS, WITHOUT_COLUMNS_REMEDY, NotMoved
from app.migration.target.leftovers import BrokenForeignKey, Unusable
from app.next_step import Command, NextStep
from app.privacy import mask_phones


def refused_list(refused: Iterable[Refusal]) -> list[Document]:
    """Rows of a table that the target refused, for a document; their keys are masked already."""
    return [{"key": list(one.key), "sqlstate": one.sqlstate, "place": one.place} for one in refused]


def refused_lines(tables: Iterable[Document]) -> Iterator[str]:
    """The first of the rows that were refused.

    Args:
        tables: parts of a document with `table` and `refused`.
    """
    refused = [(table["table"], one) for table in tables for one in table["refused"]]
    return first([f"refused: {table} {', '.join(one['key'])}: {reason(one)}" for table, one in refused])


def some_keys(keys: Sequence[Sequence[str]]) -> str:
    """The first keys of many, phones masked."""
    return "; ".join(mask_phones(", ".join(key)) for key in keys[:SHOWN]) + ("; ..." if len(keys) > SHOWN else "")


def unusable_lines(found: Document) -> Iterator[str]:
    """Which objects of the target cannot be used yet, with the statements, and what could not be seen."""
    for sentence in found.get("not_seen", ()):
        yield f"not seen: {sentence}"
    for one in found["not_usable"]:
        yield f"NOT USABLE YET: {one['object']}: {one['why']}. Run:"
        yield f"  {one['statement']}"


def not_usable_list(not_usable: Sequence[Unusable]) -> list[Document]:
    """Objects of the target that cannot be used yet, for a document."""
    return [{"object": one.name, "why": one.why, "statement": one.statement} for one in not_usable]


def broken_lines(broken: Sequence[BrokenForeignKey]) -> Iterator[str]:
    """Which foreign keys not all rows keep, and what puts them back."""
    for one in broken:
        yield one.sentence
        if not one.moved:
            statement = one.key.statement
            yield f"{one.key.parent} is not among the tables that are moved; once no row lacks its own: {statement}"


def broken_list(broken: Sequence[BrokenForeignKey]) -> list[Document]:
    """The same foreign keys for a document."""
    return [
        {
            "table": one.key.of_table,
            "name": one.key.name,
            "references": one.key.parent,
            "moved": one.moved,
            "there": one.key.state != "dropped",
            "marked_valid": one.key.state == "unproved",
            "orphans": one.orphans,
            "query": one.key.orphans,
            "statement": one.key.statement,
        }
        for one in broken
    ]


def but_not_usable(not_usable: Sequence[Unusable]) -> str:
    """What a line that says "complete" has to add."""
    many = "" if len(not_usable) == 1 else "s"
    return (
        f", but {len(not_usable)} object{many} of the target not usable before the above is run" if not_usable else ""
    )


def not_moved_lines(found: Document, what: str) -> Iterator[str]:
    """Which tables were left out.

    Args:
        what: was not done to them, as "copied".
    """
    for one in found["not_moved"]:
        yield f"NOT {what}: {one['table']}: {one['why']}."
        yield f"  {one['remedy']}"


def not_moved_list(not_moved: Sequence[NotMoved]) -> list[Document]:
    """The same tables for a document."""
    return [one._asdict() for one in not_moved]


def not_moved_next(not_moved: Sequence[NotMoved], command: str) -> NextStep:
    """The command for them alone, where there is one."""
    if not (movable := [one.table for one in not_moved if one.why != WITHOUT_COLUMNS]):
        return NextStep(f"{WITHOUT_COLUMNS_REMEDY}; then: ", Command(command))
    names = shlex.quote(",".join(movable))
    return NextStep(Command(command, f"--tables {names} --source postgresql://..."), ", or give them a primary key")
