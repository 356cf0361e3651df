"""Errors in PostgREST's words: its own, and those of the database under it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from tests.support.faults import JSON, Answer

_NO_TABLE = "42P01"
# PostgREST's reference, "Errors", HTTP status codes; anything else is 400.
_STATUS = {"08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "40": 500, "53": 503, "54": 500}
_STATUS |= {"55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500, "XX": 500, "57P01": 503, "42883": 404}
_STATUS |= {"21000": 500, "23503": 409, "23505": 409}


def error_answer(
    status: int, code: str, message: str, *, details: str | None = None, hint: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:  # fmt: skip
    """An error in PostgREST's form."""
    fields = {"code": code, "details": details, "hint": hint, "message": message}
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, {**JSON, "Proxy-Status": f"PostgREST; error={code}", **(headers or {})}, body)


def database_error(result: PGresult, schema: str, table: str, *, signed_in: bool) -> Answer:
    """The error that the database gave, as PostgREST tells of it."""

    def part(name: DiagnosticField) -> str | None:
        value = result.error_field(name)
        return None if value is None else bytes(value).decode()

    code = part(DiagnosticField.SQLSTATE)
    if code is None:
        return error_answer(503, "PGRST001", "Database client error. Retrying the connection.")
    if code == _NO_TABLE:
        return error_answer(404, "PGRST205", f"Could not find the table '{schema}.{table}' in the schema cache")
    status, headers = _STATUS.get(code) or _STATUS.get(code[:2], 400), {}
    if code == "42501":
        status, headers = (403, {}) if signed_in else (401, {"WWW-Authenticate": "Bearer"})
    details, hint = part(DiagnosticField.MESSAGE_DETAIL), part(DiagnosticField.MESSAGE_HINT)
    return error_answer(
        status, code, part(DiagnosticField.MESSAGE_PRIMARY) or "", details=details, hint=hint, headers=headers
    )
