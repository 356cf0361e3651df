"""Whether a source over REST writes values as text in the form that the target reads: its settings cannot be changed.

DateStyle, IntervalStyle, lc_monetary and extra_float_digits shape PostgreSQL's text. Over a connection the session sets
them. Over REST a few values tell which ones the API's role has.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.common.keys import Key
from app.errors import AccessDeniedError, MigrationError, SchemaMismatchError, StoreError, StoreTimeoutError
from app.migration.sources.rest.key_filters import key_groups, where_keys
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import key_of
from app.migration.tables.copy_table import CopyColumn, CopyTable
from app.next_step import Command, NextStep
from app.stores.supabase.answers import refuse_other_columns
from app.stores.supabase.grammar import alias, as_text, in_list, quoted_name
from app.stores.supabase.request_parameters import selected, where

_LOOKED_AT = 50  # values of a column
_COLUMNS_ASKED = 5  # of a kind, until one holds a value
_LONGEST_ASKED_FOR = 500  # characters of a text by which the source is asked for a row
_PLAIN = re.compile(r"[^{\[(].{0,29}")  # what a list of values asks for
_PLAIN_BYTES = 40  # of one in an address, quoted
_DIGITS = "extra_float_digits"
_GEOMETRIC = frozenset({"point", "line", "lseg", "box", "path", "polygon", "circle"})
# PostgREST can cast these to float4. Where the setting is below 1, the answer has at most 6 significant digits.
_WHOLE_NUMBERS = frozenset({"int4", "int8", "numeric"})
_SEVEN_DIGITS = re.compile(r"-?0*\.?0*[1-9](?:\.?\d){5}\.?\d*[1-9].*")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A setting, the types whose text it shapes, and the text that it should give.

    Attributes:
        types: names (pg_type.typname) of the types whose text it shapes.
        remedy: the value to set.
        right: matches each text that the target reads as it is meant; None: the source is asked for its own text.
        telling: matches a text that shows what the setting is; others are alike under each.
    """

    setting: str
    types: frozenset[str]
    remedy: str
    right: re.Pattern[str] | None
    telling: re.Pattern[str]

    def reads(self, text: str) -> bool:
        """Whether a text can be looked at: no pattern is for one of an array, and none is asked for by a composite."""
        if self.right is None:
            return not (text.startswith("(") or self.types is _GEOMETRIC)
        return not text.startswith(("{", "[", "(")) and self.telling.fullmatch(text) is not None


_KINDS = (
    _Kind(
        "DateStyle",
        frozenset({"date", "timestamp", "timestamptz"}),
        "'ISO, MDY'",
        re.compile(r"\d{4,}-\d\d-\d\d.*|-?infinity"),
        re.compile(r".*\d.*"),
    ),
    _Kind(
        "IntervalStyle",
        frozenset({"interval"}),
        "'postgres'",
        re.compile(r"(-?\+?\d+ (year|mon|day)s? ?)*([-+]?\d+:\d\d:\d\d(\.\d+)?)?|-?infinity"),
        re.compile(r"(?!00:00:00$).*\d.*"),
    ),
    _Kind(
        "lc_monetary",
        frozenset({"money"}),
        "'C'",
        re.compile(r"-?\$\d{1,3}(,\d{3})*\.\d\d"),
        re.compile(r".*\d.*"),
    ),
    # Below 1, a float4 has at most 6 significant digits, and a float8 at most 15.
    _Kind(_DIGITS, frozenset({"float4"}), "1", None, re.compile(r".*[1-9](\.?\d){6}.*")),
    _Kind(_DIGITS, frozenset({"float8"}), "1", None, re.compile(r".*[1-9](\.?\d){15}.*")),
    _Kind(_DIGITS, _GEOMETRIC, "1", None, re.compile(r".*[1-9](\.?\d){15}.*")),
)


async def require_readable_texts(
    source: RestSource, tables: Sequence[CopyTable], notice: Callable[[str], None], *, step: str
) -> None:
    """Stop where the source's settings make texts that the target would read as other values.

    Args:
        notice: told of what could not be found out.

    Raises:
        MigrationError: names the setting and the statement that puts it right.
        StoreError: the source cannot be asked.
    """
    told = source.told_settings  # a part of the tables may lack the values that told
    doubtful: list[tuple[_Kind, CopyTable, CopyColumn]] = []
    asked: dict[str, list[tuple[CopyTable, CopyColumn]]] = {}
    for kind in _KINDS:
        for table, column in _columns(tables, kind)[:_COLUMNS_ASKED]:
            if kind.setting in told:
                break
            asked.setdefault(kind.setting, []).append((table, column))
            tells, cannot_be_asked = await _tells(source, table, column, kind, step)
            if tells:
                told.add(kind.setting)
            if cannot_be_asked and kind.types is _GEOMETRIC:
                doubtful.append((kind, table, column))
    if doubtful and _DIGITS not in told:
        if not await _whole_numbers_tell(source, tables):
            raise _untold(*doubtful[0], step)
        told.add(_DIGITS)
    for setting, columns in asked.items():
        tables_of = {table.name: table for table, _ in columns}.values()
        if setting not in told and any([await _has_rows(source, table) for table in tables_of]):
            named = ", ".join(f"{table.name}.{column.name}" for table, column in columns)
            notice(
                f"which {setting} the source has could not be told, for want of values in {named}; botdata verify "
                "--source postgresql://... compares values whatever it is"
            )


async def _tells(source: RestSource, table: CopyTable, column: CopyColumn, kind: _Kind, step: str) -> tuple[bool, bool]:
    """Whether a value of the column shows that the setting is right, and whether some cannot be asked for.

    While none does, the source is asked for others than those.
    """
    seen: dict[str, None] = {}
    cannot_be_asked = False
    while len(seen) < _LOOKED_AT:
        values = await _values(source, table, column, other_than=list(seen))
        readable = [value for value in values if kind.reads(value[1])]
        if wrong := await _wrong(source, table, column, kind, readable):
            raise _unreadable(kind, table, column, wrong, step)
        telling = [text for _, text in (values if kind.types is _GEOMETRIC else readable)]
        if any(kind.telling.fullmatch(text) for text in telling):
            return True, False
        cannot_be_asked |= any(re.search("[1-9]", text) for _, text in values if not kind.reads(text))
        new = {text: None for _, text in values if text not in seen}
        if not new or not all(_PLAIN.fullmatch(text) for text in new):
            break
        seen |= new
    return False, cannot_be_asked


async def _whole_numbers_tell(source: RestSource, tables: Sequence[CopyTable]) -> bool:
    """Whether a whole number of seven digits keeps them as a float4, which is made of it for the answer alone."""
    for table in tables:
        for column in (one for one in table.columns if one.parts and one.parts <= _WHOLE_NUMBERS):
            select = f"{alias(0)}:{quoted_name(column.name)}::float4"
            builder = source.heirs.leave_out(
                selected(source.rest.table(table.relation_name, table.schema), select), table
            )
            where(builder, column.name, "gte", "1000000")
            try:
                answer = await source.patiently(partial(source.rest.send, builder.limit(_LOOKED_AT)))
            except StoreError:  # too large for a float4, or no column of the source's
                continue
            for row in json.loads(answer, parse_float=str, parse_int=str):
                if _SEVEN_DIGITS.fullmatch(str(row[alias(0)]).partition("e")[0]):
                    return True
    return False


def _columns(tables: Sequence[CopyTable], kind: _Kind) -> list[tuple[CopyTable, CopyColumn]]:
    """The columns whose text the setting shapes: those of such a type first, then domains, arrays and so on."""
    found = [(table, one) for table in tables for one in table.columns if not kind.types.isdisjoint(one.parts)]
    return sorted(found, key=lambda pair: len(pair[1].parts))


async def _has_rows(source: RestSource, table: CopyTable) -> bool:
    builder: Any = selected(source.rest.table(table.relation_name, table.schema), quoted_name(table.key[0].name))
    try:
        return bool(await source.patiently(lambda: source.rest.rows(builder.limit(1))))
    except (SchemaMismatchError, AccessDeniedError):
        return False


async def _values(
    source: RestSource, table: CopyTable, column: CopyColumn, *, other_than: list[str]
) -> list[tuple[Key, str]]:
    """Some values as text, with the keys of their rows; none where the source takes too long to find any."""
    select = as_text([*(one.name for one in table.key), column.name])
    builder = source.heirs.leave_out(selected(source.rest.table(table.relation_name, table.schema), select), table)
    where(builder, column.name, "not.in" if other_than else "not.is", in_list(other_than) if other_than else "null")

    async def ask() -> list[dict[str, Any]]:
        try:
            rows = await source.rest.rows(builder.limit(_LOOKED_AT))
        except StoreTimeoutError:
            return []
        refuse_other_columns(rows, {alias(position) for position in range(table.key_size + 1)})
        return rows

    try:
        rows = await source.patiently(ask)
    except (SchemaMismatchError, AccessDeniedError):
        return []  # the command names what is missing when it comes to the table
    return [(key_of(row, table), row[alias(table.key_size)]) for row in rows]


async def _wrong(
    source: RestSource, table: CopyTable, column: CopyColumn, kind: _Kind, values: Sequence[tuple[Key, str]]
) -> str | None:
    """A text that does not say which value it is."""
    if kind.right is not None:
        return next((text for _, text in values if not kind.right.fullmatch(text)), None)
    # Each is asked for, not only the longest: a text with few digits may be short for that.
    plain = [(key, text) for key, text in values if _PLAIN.fullmatch(text)]
    found = await _keys_found(source, table, column, plain)
    others = {text: key for key, text in values if len(text) <= _LONGEST_ASKED_FOR and not _PLAIN.fullmatch(text)}
    by_length = sorted(((key, text) for text, key in others.items()), key=lambda one: (len(one[1]), one[1]))
    doubtful = [one for one in plain if one[0] not in found] + by_length[:3] + by_length[3:][-3:]
    for key, text in doubtful:
        if not await _is_found(source, table, column, key, text):
            return text
    return None


async def _keys_found(
    source: RestSource, table: CopyTable, column: CopyColumn, values: Sequence[tuple[Key, str]]
) -> set[Key]:
    """Keys of the rows that hold one of the values.

    A row can hold none but its own: the source writes all of them with as many digits.
    """
    found: set[Key] = set()
    for group in key_groups(sorted({key for key, _ in values}), table, beside=_LOOKED_AT * _PLAIN_BYTES):
        builder: Any = selected(
            source.rest.table(table.relation_name, table.schema), as_text([one.name for one in table.key])
        )
        where_keys(builder, table, group)
        where(builder, column.name, "in", in_list(sorted({text for key, text in values if key in group})))
        found.update(key_of(row, table) for row in await source.patiently(partial(source.rest.rows, builder)))
    return found


async def _is_found(source: RestSource, table: CopyTable, column: CopyColumn, key: Key, text: str) -> bool:
    """Whether the source finds a row by its own text: one with fewer digits than the value has is another value.

    A row that has another text by now, or has gone, tells nothing, and counts as found.
    """

    async def texts(*, asked_for: bool) -> list[str]:
        builder: Any = selected(source.rest.table(table.relation_name, table.schema), as_text([column.name]))
        where_keys(builder, table, [key])
        if asked_for:
            where(builder, column.name, "eq", text)
        return [row[alias(0)] for row in await source.patiently(lambda: source.rest.rows(builder.limit(1)))]

    return bool(await texts(asked_for=True)) or text not in await texts(asked_for=False)


def _untold(kind: _Kind, table: CopyTable, column: CopyColumn, step: str) -> MigrationError:
    return MigrationError(
        f"whether the source writes {table.name}.{column.name} with all its digits ({kind.setting}) cannot be told "
        "over REST, for want of a number of many digits in the tables",
        step=step,
        table=table.name,
        pending="everything; nothing was written",
        next_step=NextStep(
            "read it with --source postgresql://..., where it does not matter, or leave the table out with --tables; "
            "then: ",
            Command(step),
        ),
    )


def _unreadable(kind: _Kind, table: CopyTable, column: CopyColumn, text: str, step: str) -> MigrationError:
    shape = re.sub(r"\d", "0", text)[:40]
    return MigrationError(
        f"the source's {kind.setting} is another one than the target reads: {table.name}.{column.name} comes as "
        f"{shape!r} (digits as 0), which would be read as another value",
        step=step,
        table=table.name,
        pending="everything; nothing was written",
        next_step=NextStep(
            f"at the source: ALTER ROLE authenticator SET {kind.setting} = {kind.remedy}; "
            "NOTIFY pgrst, 'reload config'; or read it with --source postgresql://..., where it does not matter; "
            "then: ",
            Command(step),
        ),
    )
