"""Upserts through PostgREST: the columns that were given, all rows or none, in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from app.data_layer.backend import Values
from app.data_layer.supabase_table import SupabaseTable


async def upsert(table: SupabaseTable, rows: Sequence[Values]) -> list[Any]:
    raise NotImplementedError
