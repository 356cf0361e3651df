"""Faults that the page server puts into its answers: the ways in which servers, gateways and networks fail.

A hook is asked at every request and gives a fault or None: `server.hook = queue([None, status(503)])`.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain


@dataclass(frozen=True)
class Request:
    """A request as it came: `number` counts from 1 over the server's life; `parameters` keep their order."""

    number: int
    method: str
    target: str
    table: str
    parameters: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def parameter(self, name: str) -> str | None:
        """A parameter's value, decoded; None where it was not sent."""
        return dict(self.parameters).get(name)


class Delivery(Enum):
    """How much of an answer reaches the client."""

    WHOLE = "whole"
    SLOW = "in pieces, with pauses"
    SHORT = "the connection ends after a part of the body"
    RESET_IN_BODY = "the connection is reset after a part of the body"
    RESET = "the connection is reset before the answer"
    RESET_BEHIND = "all of it, then the connection is reset"
    OVERLONG = "all of it, under a content-length that says half"
    CHUNKS_CUT = "in chunks, and the connection ends before the last"
    NEVER = "nothing comes, and the connection stays"


@dataclass(frozen=True)
class Answer:
    """A response: its body is as long as `content-length` says; `rows` are those in the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    rows: int = 0
    delivery: Delivery = Delivery.WHOLE
    pause: float = 0.0


Fault = Callable[[Answer], Answer]
Hook = Callable[[Request], Fault | None]

JSON = {"Content-Type": "application/json; charset=utf-8"}
HTML = {"Content-Type": "text/html; charset=utf-8"}


@dataclass(frozen=True)
class Unreached:
    """A gateway's error for a request that never reached PostgREST: it is not carried out."""

    fault: Fault

    def __call__(self, answer: Answer) -> Answer:
        return self.fault(answer)


def status(code: int, *, retry_after: float | str | None = None) -> Fault:
    """An error of a gateway, with its HTML body; `retry_after` is seconds or a date."""
    headers = {**HTML, **({} if retry_after is None else {"Retry-After": str(retry_after)})}
    body = f"<html><head><title>{code}</title></head><body><h1>Error {code}</h1></body></html>".encode()
    return lambda _answer: Answer(code, headers, body)


def statement_timeout() -> Fault:
    """What PostgREST says when PostgreSQL cancels the statement."""
    body = b'{"code":"57014","details":null,"hint":null,"message":"canceling statement due to statement timeout"}'
    headers = {**JSON, "Proxy-Status": "PostgREST; error=57014"}
    return lambda _answer: Answer(500, headers, body)


def postgrest(code: int, name: str, message: str = "no message") -> Fault:
    """An error of PostgREST's own, such as 503 PGRST002 while it loads its schema cache."""
    body = json.dumps({"code": name, "details": None, "hint": None, "message": message}).encode()
    return lambda _answer: Answer(code, {**JSON, "Proxy-Status": f"PostgREST; error={name}"}, body)


def redirect(code: int, location: str = "/login") -> Fault:
    """Another address, as from a gateway that asks to sign in."""
    return lambda _answer: Answer(code, {**HTML, "Location": location}, b"<html><body>Moved</body></html>")


def html_page() -> Fault:
    """A page for people with status 200, as from a captive portal or a challenge."""
    return lambda _answer: Answer(200, HTML, b"<!DOCTYPE html><html><body>Just a moment...</body></html>")


def garbage() -> Fault:
    """Bytes that are neither JSON nor UTF-8, under the right type."""
    return lambda answer: replace(answer, body=b"\x00\xff\xfe\x80[{" * 20)


def cut_json() -> Fault:
    """Half of the body, with a content-length that agrees."""
    return lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2])


def row_missing() -> Fault:
    """The page without its last row, and nothing that says so."""

    def apply(answer: Answer) -> Answer:
        if answer.rows == 0:
            return answer
        body = answer.body.rpartition(b", \n ")[0] if answer.rows > 1 else b"["
        return replace(answer, body=body + b"]", rows=answer.rows - 1)

    return apply


def row_left_out(place: float) -> Fault:
    """The page without one row, at a place between 0 (its first) and 1, and nothing that says so."""

    def apply(answer: Answer) -> Answer:
        rows = _rows_of(answer)
        if not rows:
            return answer
        del rows[min(len(rows) - 1, int(place * len(rows)))]
        return replace(answer, body=_page_of(rows), rows=len(rows))

    return apply


def rows_twice() -> Fault:
    """Each row of the page twice."""

    def apply(answer: Answer) -> Answer:
        rows = [row for row in _rows_of(answer) for _ in range(2)]
        return replace(answer, body=_page_of(rows), rows=len(rows)) if rows else answer

    return apply


def instead(other: Answer) -> Fault:
    """The answer to another request, whole, as from a cache or a proxy that mixes them up."""
    return lambda _answer: other


def content_range(text: str | None) -> Fault:
    """Another Content-Range, or none; no change where there was none, or where all of a whole answer would agree."""

    def apply(answer: Answer) -> Answer:
        if "Content-Range" not in answer.headers or text == f"0-{answer.rows - 1}/{answer.rows}":
            return answer
        headers = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
        return replace(answer, headers=headers if text is None else {**headers, "Content-Range": text})

    return apply


def agreeing(fault: Fault) -> Fault:
    """The same, with a Content-Range whose span agrees with the spoiled body; its count stays."""

    def apply(answer: Answer) -> Answer:
        spoiled = fault(answer)
        span = f"0-{spoiled.rows - 1}" if spoiled.rows else "*"
        count = answer.headers.get("Content-Range", "/*").partition("/")[2]
        return replace(spoiled, headers={**spoiled.headers, "Content-Range": f"{span}/{count}"})

    return apply


def gzip_garbage() -> Fault:
    """Bytes that are called gzip and are not."""
    return lambda answer: replace(answer, headers={**answer.headers, "Content-Encoding": "gzip"}, body=b"\x1f\x8b" * 40)


def gzip_cut() -> Fault:
    """Half of a gzip stream, with a content-length that agrees."""

    def apply(answer: Answer) -> Answer:
        packed = gzip.compress(answer.body, compresslevel=1)
        headers = {**answer.headers, "Content-Encoding": "gzip"}
        return replace(answer, headers=headers, body=packed[: len(packed) // 2])

    return apply


def delivered(how: Delivery, *, pause: float = 0.05) -> Fault:
    """The right answer, delivered badly; `pause` is in seconds, between the pieces of a slow one."""
    return lambda answer: replace(answer, delivery=how, pause=pause)


def queue(faults: Iterable[Fault | None]) -> Hook:
    """The next fault for each request, then none."""
    remaining = chain(faults, iter(lambda: None, 0))
    return lambda _request: next(remaining)


def at(faults: Mapping[int, Fault]) -> Hook:
    """Faults at requests of these numbers."""
    return lambda request: faults.get(request.number)


def above_limit(limit: int, fault: Fault) -> Hook:
    """A fault for every page that asks for more than `limit` rows, or names no limit."""

    def ask(request: Request) -> Fault | None:
        asked = request.parameter("limit")
        return fault if request.method == "GET" and (asked is None or int(asked) > limit) else None

    return ask


def seeded(seed: int, rate: float, faults: Sequence[Fault]) -> Hook:
    """One of the faults at about `rate` (0..1) of the requests; the same ones for the same seed."""

    def ask(request: Request) -> Fault | None:
        chance = random.Random(f"{seed}:{request.number}")
        return chance.choice(faults) if chance.random() < rate else None

    return ask


_BETWEEN = b", \n "  # rows, as PostgreSQL's json_agg writes them


def _rows_of(answer: Answer) -> list[bytes]:
    return answer.body[1:-1].split(_BETWEEN) if answer.rows else []


def _page_of(rows: Sequence[bytes]) -> bytes:
    return b"[" + _BETWEEN.join(rows) + b"]"
