"""What a PostgreSQL driver error may tell: its class and SQLSTATE, never DETAIL or CONTEXT, which hold whole rows."""

import logging
import re

import psycopg

from app.errors import DriverError
from app.privacy import mask_phones

_QUOTED = re.compile(r'"[^"]*"')


def without_values(error: BaseException | None) -> DriverError:
    """The driver error without anything that may quote a value: of classes 22 and 23 not even the message.

    Why there is no connection, libpq and the server tell in words that quote names and addresses only: those are left
    out, since a password with an unescaped @ is taken for part of one.
    """
    if not isinstance(error, psycopg.Error):
        return DriverError(type(error).__name__)
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        return DriverError(mask_phones(_QUOTED.sub('"..."', " ".join(str(error).split()))))
    message = error.diag.message_primary
    quiet = error.sqlstate is None or error.sqlstate[:2] in {"21", "22", "23", "44", "P0"} or not message
    told = "" if quiet else f": {message}"
    return DriverError(f"{type(error).__name__} [SQLSTATE {error.sqlstate}]{told}")


class _HideValues(logging.Filter):
    """Takes the values out of errors that psycopg logs since another one is at hand: a COPY's may quote a row."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(without_values(one) if isinstance(one, psycopg.Error) else one for one in record.args)
        return True


logging.getLogger("psycopg").addFilter(_HideValues())


def missing_right(error: psycopg.Error) -> str | None:
    """What a role may not do, as "permission denied for table clients"; None for other errors.

    The server's own message names only objects; one that a function raised may say anything, and is not told.
    """
    if error.sqlstate != "42501" or error.diag.context is not None:
        return None
    return error.diag.message_primary


def ends_session(error: psycopg.Error) -> bool:
    """Whether whoever sent an error ends the connection with it; Supavisor sends the second kind of severity alone."""
    return (error.diag.severity_nonlocalized or error.diag.severity) == "FATAL"


def poolers_words(error: psycopg.Error) -> str:
    """What a pooler says of itself, as ": query_wait_timeout"; nothing for what a server says."""
    state, said = error.sqlstate or "", error.diag.message_primary
    is_poolers = state[:2] == "08" or state == "58000" or (state == "XX000" and ends_session(error))
    return ": " + mask_phones(_QUOTED.sub('"..."', said)) if is_poolers and said else ""
