"""Filters of a request over REST that ask for rows by their keys, and how many keys one address holds."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from app.common.keys import Key
from app.migration.tables.copy_table import CopyTable
from app.stores.supabase.grammar import LONGEST_ADDRESS, in_list, listed_length
from app.stores.supabase.request_parameters import where

_KEYS_A_REQUEST = 50
_KEY_BYTES_A_REQUEST = 2000


def where_keys(builder: Any, table: CopyTable, keys: Sequence[Key]) -> None:
    """Ask for the rows of one of the groups that `key_groups` makes."""
    for column, values in zip(table.key, zip(*keys, strict=True), strict=True):
        distinct = list(dict.fromkeys(values))
        # PostgREST takes `in.("")` for an empty list, so a single value is asked for with `eq`.
        single = len(distinct) == 1
        where(builder, column.name, "eq" if single else "in", distinct[0] if single else in_list(distinct))


def key_groups(keys: Sequence[Key], table: CopyTable, *, beside: int = 0) -> Iterator[list[Key]]:
    """Keys that one request can ask for: all columns but the last equal, and no more than an address can hold.

    Arrays are asked for one by one: PostgREST makes one array of a list, and PostgreSQL has no type for arrays of them.
    So are values of a type whose arrays have another delimiter than PostgREST's comma.

    Args:
        beside: bytes of the address without the keys.
    """
    last = table.key[-1]
    at_once = 1 if last.type.endswith("[]") or not last.listable else _KEYS_A_REQUEST
    for prefix, group in groupby(keys, key=lambda key: key[:-1]):
        held = sum(map(listed_length, prefix))
        most = min(_KEY_BYTES_A_REQUEST, LONGEST_ADDRESS - beside - held)
        wanted: list[Key] = []
        size = 0
        for key in group:
            length = listed_length(key[-1])
            if wanted and (size + length > most or len(wanted) == at_once):
                yield wanted
                wanted, size = [], 0
            wanted.append(key)
            size += length
        yield wanted
