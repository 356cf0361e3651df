"""Trying again, at a source over REST or a connection and at the target: what can pass, and how long to wait."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import psycopg
import stamina

from app.errors import CountTimeoutError, OutcomeUnknownError, StoreTimeoutError, UnavailableError

_Answer = TypeVar("_Answer")
# Unavailable for reasons that waiting does not mend: no such database, the disk is full, read-only.
_LASTING = {"3D000", "53100", "25006"}
# A deadlock, a serialization failure, a lock not granted: the same transaction can succeed when repeated.
REPEATABLE = {"40001", "40P01", "55P03"}
_LONGEST_ASKED_FOR = 300.0  # seconds of a Retry-After that are waited at most


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked for at once, and how often again.

    Attributes:
        page_rows: rows of a page at most; the server's own cap may be lower.
        page_bytes: bytes of a page to aim at; a page of twice as many is asked for again in halves.
        attempts: tries of one request, the first included.
        wait_initial, wait_max: seconds of the first and the longest wait between tries.
    """

    page_rows: int = 2000
    page_bytes: int = 4_000_000
    attempts: int = 8
    wait_initial: float = 0.5
    wait_max: float = 30.0


class Patiently(Protocol):
    """Makes a request, as often as it takes."""

    async def __call__(self, ask: Callable[[], Awaitable[_Answer]], /) -> _Answer: ...


def is_passing(error: Exception) -> bool:
    """Whether the same request can succeed later: rates, gateways, a lost connection, a restart, a lock, a timeout."""
    if isinstance(error, CountTimeoutError):
        return False
    return isinstance(error, UnavailableError | StoreTimeoutError) and error.sqlstate not in _LASTING


async def patiently(
    ask: Callable[[], Awaitable[_Answer]],
    limits: Limits,
    tell: Callable[[str], None],
    label: str,
    *,
    unknown_too: bool = False,
) -> _Answer:
    """The answer, after as many tries as the limits allow; with the pause that the source asked for, where it did.

    Args:
        tell: called with a sentence before each further try.
        label: the source's name, for that sentence.
        unknown_too: a write whose outcome is unknown can be repeated.

    Raises:
        StoreError: it does not pass.
    """
    failures = 0

    def passing(error: Exception) -> bool | float:
        nonlocal failures
        if not (is_passing(error) or (unknown_too and isinstance(error, OutcomeUnknownError))):
            return False
        failures += 1
        asked = error.retry_after if isinstance(error, UnavailableError) else None
        wait = min(asked, _LONGEST_ASKED_FOR) if asked else None
        if failures < limits.attempts:
            again = "trying again" if wait is None else f"trying again in {wait:.0f} s"
            tell(f"{label}: {error}; {again} ({failures} of {limits.attempts - 1})")
        return True if wait is None else wait

    calling = stamina.AsyncRetryingCaller(
        attempts=limits.attempts,
        timeout=None,
        wait_initial=limits.wait_initial,
        wait_max=limits.wait_max,
        wait_jitter=limits.wait_initial,
    )
    return await calling(passing, ask)


async def repeated(load: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """The answer of a transaction at the target, which is repeated after a deadlock or a lock not granted.

    Raises:
        psycopg.Error: any other, or the same after five tries.
    """

    def passing(error: Exception) -> bool:
        return isinstance(error, psycopg.Error) and error.sqlstate in REPEATABLE

    calling = stamina.AsyncRetryingCaller(attempts=5, timeout=None, wait_initial=0.1, wait_jitter=0.1)
    return await calling(passing, load)
