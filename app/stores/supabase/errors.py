"""What went wrong on the way to Supabase and back, and what it answers with, turned into our errors."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from app.errors import (
    AccessDeniedError,
    AddressTooLongError,
    LongAddressLostError,
    NotReachedError,
    OutcomeUnknownError,
    RejectedError,
    SchemaMismatchError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
    error_for_sqlstate,
)
from app.stores.supabase.grammar import LONGEST_ADDRESS

UNDECODABLE = (ValueError, RecursionError)  # of a body that is no JSON, or nested too deep
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_CODE = re.compile(r"[0-9A-Za-z_]{1,20}")
SCHEMA_NOT_EXPOSED = "PGRST106"
# PostgREST's own codes (its reference, "Errors"); the letters of SQLSTATEs are mapped in app.errors.
_POSTGREST: dict[str, tuple[type[StoreError], str]] = {
    "PGRST000": (UnavailableError, "PostgREST has no connection to its database"),
    "PGRST001": (UnavailableError, "PostgREST has no connection to its database"),
    "PGRST002": (UnavailableError, "PostgREST is loading its schema cache"),
    "PGRST003": (UnavailableError, "PostgREST had no free connection in time"),
    "PGRST103": (UnavailableError, "rows have gone from Supabase between two pages"),
    "PGRST202": (SchemaMismatchError, "the function does not exist in Supabase"),
    "PGRST204": (SchemaMismatchError, "a column does not exist in Supabase"),
    "PGRST205": (SchemaMismatchError, "the table does not exist in Supabase"),
    "PGRST301": (AccessDeniedError, "Supabase refuses the key"),
    "PGRST302": (AccessDeniedError, "Supabase refuses the key"),
    "PGRST303": (AccessDeniedError, "Supabase refuses the key: it has expired or its claims are wrong"),
}
# Supabase's gateway, which asks no project then ("HTTP status codes", "Fair use policy"): a write was not made either.
_TURNED_AWAY = {
    402: "the project is restricted; look at its usage and billing in Supabase's dashboard",
    540: "the project is paused; restore it in Supabase's dashboard",
}


@contextmanager
def translated_transport_errors(*, writing: bool) -> Iterator[None]:
    """Turn transport errors into ours; a write whose answer is lost may have been carried out."""
    lost = OutcomeUnknownError if writing else UnavailableError
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotReachedError("Supabase cannot be reached") from error
    except httpx.TimeoutException as error:
        if writing:
            raise OutcomeUnknownError("Supabase did not answer a write in time") from error
        raise StoreTimeoutError("Supabase did not answer in time") from error
    # OSError: httpx passes on what TLS says of bytes that are none of its own, or were changed on the way.
    except (httpx.TransportError, OSError) as error:
        raise lost("the connection to Supabase was lost before its whole answer came") from error
    except (httpx.InvalidURL, httpx.DecodingError, UnicodeError) as error:
        raise lost("Supabase's answer could not be read") from error


def error_of(response: httpx.Response, *, writing: bool) -> StoreError:
    """The error that an answer without success tells of, by its code and status."""
    code = _code_of(response)
    if code is not None and _SQLSTATE.fullmatch(code):
        error = error_for_sqlstate(code, detail=_missing_name(response, code))
        if writing and isinstance(error, UnavailableError) and code.startswith(("08", "57")):
            return OutcomeUnknownError(f"PostgREST lost its database during a write [{code}]", sqlstate=code)
        return error
    if code == SCHEMA_NOT_EXPOSED:
        return SchemaMismatchError(f"the API does not expose the schema {_schema_of(response)} [{code}]", sqlstate=code)
    if code in _POSTGREST:
        kind, meaning = _POSTGREST[code]
        if writing and code == "PGRST001":
            kind = OutcomeUnknownError
        return kind(f"{meaning}{_missing_name(response, code)} [{code}]", sqlstate=code)
    status = response.status_code
    label = f"[HTTP {status}{f', {code}' if code else ''}]"
    if status in {401, 403}:
        return AccessDeniedError(f"Supabase refuses the key {label}", sqlstate=code)
    length = len(str(response.request.url))
    if status in {414, 431} or (status == 400 and code is None and length > LONGEST_ADDRESS):
        return AddressTooLongError(f"a server on the way takes no address of {length:,} bytes {label}")
    if status == 404:
        return SchemaMismatchError(f"Supabase does not know the address {label}", sqlstate=code)
    if status == 429:
        return UnavailableError(f"Supabase limits the rate {label}", retry_after=_retry_after(response))
    if status in _TURNED_AWAY:
        return UnavailableError(f"{_TURNED_AWAY[status]} {label}")
    if response.has_redirect_location:
        return StoreError(f"SUPABASE_URL leads to another address than the project's own {label}")
    if status >= 500:
        if writing:
            return OutcomeUnknownError(f"a gateway lost the answer to a write {label}", sqlstate=code)
        if code is None and length > LONGEST_ADDRESS:
            words = f"Supabase cannot answer now, or not to an address of {length:,} bytes {label}"
            return LongAddressLostError(words, retry_after=_retry_after(response))
        return UnavailableError(f"Supabase cannot answer now {label}", retry_after=_retry_after(response))
    if status == 400:
        return RejectedError(f"Supabase refuses the request {label}", sqlstate=code)
    return StoreError(f"Supabase answered with an error {label}", sqlstate=code)


def _code_of(response: httpx.Response) -> str | None:
    code = _text_of(response, "code")
    return code if code is not None and _CODE.fullmatch(code) else None  # whatever else it is, it is repeated nowhere


def _missing_name(response: httpx.Response, code: str) -> str:
    """What is missing or forbidden, as the server names it: these messages hold names of tables and columns only."""
    told = code in {"42P01", "42703", "42501", "PGRST202", "PGRST204", "PGRST205"}
    message = _text_of(response, "message") if told else None
    return f" ({message})" if message else ""


def _schema_of(response: httpx.Response) -> str:
    """The schema that a request asked for, by its headers."""
    headers = response.request.headers
    return headers.get("Accept-Profile") or headers.get("Content-Profile") or "public"


def _text_of(response: httpx.Response, name: str) -> str | None:
    try:
        body = json.loads(response.content)
    except UNDECODABLE:
        return None
    text = body.get(name) if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
