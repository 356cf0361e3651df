"""When a count over REST takes too long, so that asking again would take as long."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import CountTimeoutError, StoreTimeoutError, UnavailableError


class Lateness:
    """Tells a count that takes too long from a failure that can pass: one timeout, or two of a gateway."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._by_gateway = 0

    @contextmanager
    def told(self) -> Iterator[None]:
        """One try of the count.

        Raises:
            CountTimeoutError: it takes too long.
        """
        try:
            yield
        except StoreTimeoutError as error:
            if error.sqlstate not in {None, "57014"}:  # a lock or a deadlock passes
                raise
            raise CountTimeoutError(f"counting {self._name} took too long: {error}") from error
        except UnavailableError as error:
            self._by_gateway += "[HTTP 504]" in str(error)
            if self._by_gateway > 1:
                raise CountTimeoutError(f"counting {self._name} took too long: {error}") from error
            raise
