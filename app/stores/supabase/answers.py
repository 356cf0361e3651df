"""Whether an answer of Supabase is the one to the request that was sent, and holds what it says."""

import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx

from app.errors import OutcomeUnknownError, StoreError, UnavailableError
from app.stores.supabase.errors import UNDECODABLE

_CONTENT_RANGE = re.compile(r"(?:([0-9]{1,18})-([0-9]{1,18})|\*)/(?:([0-9]{1,18})|\*)")


def records_of(response: httpx.Response) -> list[Any]:
    """The JSON array of an answer's body.

    Raises:
        StoreError: there is none, or a GET's answer holds not as many members as it says.
    """
    try:
        records = json.loads(response.content)
    except UNDECODABLE as error:
        raise UnavailableError("Supabase answered with something that is not JSON") from error
    if not isinstance(records, list):
        raise StoreError("Supabase answered with something that is not a list of rows")
    if response.request.method == "GET":
        refuse_other_count(len(records), rows_told(response.headers))
    return records


def rows_told(headers: Mapping[str, str]) -> int | None:
    """How many rows the answer to a GET holds, by its Content-Range: `0-24/*`, `*/*` for none; None: it is silent."""
    told = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if told is None:
        return None
    return int(told[2]) - int(told[1]) + 1 if told[1] else 0


def total_told(headers: Mapping[str, str]) -> int | None:
    """How many rows fit a request, by the last part of Content-Range: `0-6/10`; None: the server did not count them."""
    told = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(told[3]) if told and told[3] else None


def refuse_other_count(rows: int, told: int | None) -> None:
    """UnavailableError where an answer does not hold the rows that it should: the same request can succeed later."""
    if told is not None and told != rows:
        raise UnavailableError("Supabase's answer does not hold as many rows as it says")


def refuse_other_columns(records: Sequence[object], wanted: Set[str] | None) -> None:
    """UnavailableError where a row has other columns than were asked for: loaded, those that it lacks would be NULL."""
    if wanted is not None and not all(isinstance(record, dict) and record.keys() == wanted for record in records):
        raise UnavailableError("Supabase answered with rows of other columns than were asked for")


def refuse_other_answer(response: httpx.Response) -> None:
    """UnavailableError where the answer is one to another request, as a cache or a proxy may mix them up.

    PostgREST repeats in Content-Location what it was asked: the path, and the query with the values of a name joined
    by commas. Names and values that are not ASCII are not compared, since it encodes them in ways of its own, nor are
    the answers of a table in whose name a URL would end: it writes that as it is.
    """
    location = response.headers.get("Content-Location")
    asked = response.request.url
    if location is None or set("%?#") & set(asked.path):
        return
    path, _, query = location.partition("?")
    same = unquote(path).rpartition("/")[2] == asked.path.rpartition("/")[2]
    if not (same and _ascii_parameters(query) == _ascii_parameters(asked.query.decode("ascii"))):
        raise UnavailableError("Supabase answered another request than the one that was sent")


def _ascii_parameters(query: str) -> dict[str, str]:
    joined = {name: ",".join(values) for name, values in parse_qs(query, keep_blank_values=True).items()}
    return {name: value for name, value in joined.items() if f"{name}{value}".isascii()}


def refuse_strange_answer(response: httpx.Response) -> None:
    """OutcomeUnknownError where a write was answered with success, though not as PostgREST does."""
    wanted = b"" if "return=minimal" in response.request.headers.get("Prefer", "") else b"["
    if response.content.lstrip()[:1] != wanted:
        raise OutcomeUnknownError("Supabase answered a write with something that is not PostgREST's")
