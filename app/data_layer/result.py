"""The answer of every method of the data layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """What a method answers; nothing found is a success with None or an empty list.

    Attributes:
        success: whether the call was carried out.
        data: the row, rows or report; None when the call failed.
        error: one or two sentences for a person, without values of rows; None on success.
        error_code: stable, see app.errors; None on success.
        operation: the method's name.
        timestamp: when the answer was made, aware UTC.
        metadata: what the method adds, such as the counts of a bulk write, or the field and the row that were refused.
    """

    success: bool
    data: T | None
    error: str | None
    error_code: str | None
    operation: str
    timestamp: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)
