"""The rows that both backends return: one immutable type a table, made from the models.

A row is a named tuple with its model's attributes in their order; it needs no session and is complete.
Its `repr` shows the primary key alone, so that a logged row gives no phone number or secret away.
For a type checker a row type is its model: the attributes and their types are the same.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Table, inspect

from app import models
from app.common.keys import Key

__all__ = [
    "BookingRow",
    "ClientRow",
    "ClientSummary",
    "CompanyRow",
    "DialogContextRow",
    "ServiceRow",
    "StaffRow",
    "StaffScheduleRow",
    "key_of",
    "natural_key",
    "row_type",
    "table_of",
]


def row_type(model: type[models.Base]) -> Any:
    """Make the row type of a model: `type._make(values)` in the order of the table's columns."""
    attributes = [attribute.key for attribute in inspect(model).column_attrs]
    name = f"{model.__name__}Row"
    base = namedtuple(name, attributes)  # type: ignore[misc]
    shown = [c.name for c in model.__table__.primary_key if not c.info.get("phone")]

    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{name}({', '.join(f'{key}={getattr(self, key)!r}' for key in shown)})"

    return type(name, (base,), {"__slots__": (), "__repr__": __repr__, "__module__": __name__})


if TYPE_CHECKING:
    from app.models import Booking as BookingRow
    from app.models import Client as ClientRow
    from app.models import Company as CompanyRow
    from app.models import DialogContext as DialogContextRow
    from app.models import Service as ServiceRow
    from app.models import Staff as StaffRow
    from app.models import StaffSchedule as StaffScheduleRow
else:
    BookingRow = row_type(models.Booking)
    ClientRow = row_type(models.Client)
    CompanyRow = row_type(models.Company)
    DialogContextRow = row_type(models.DialogContext)
    ServiceRow = row_type(models.Service)
    StaffRow = row_type(models.Staff)
    StaffScheduleRow = row_type(models.StaffSchedule)


class ClientSummary(NamedTuple):
    """What a search for clients returns of each."""

    id: int
    yclients_id: int
    name: str | None
    phone: str
    email: str | None
    visit_count: int | None
    total_spent: Decimal | None
    loyalty_level: str | None
    last_visit_date: date | None

    def __repr__(self) -> str:
        return f"ClientSummary(id={self.id})"


def table_of(model: type[models.Base]) -> Table:
    """The table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def natural_key(table: Table) -> tuple[str, ...]:
    """The names of the columns of a table's natural key."""
    key: tuple[str, ...] = table.info["natural_key"]
    return key


def key_of(table: Table, row: Mapping[str, object]) -> Key:
    """The natural key of a row, as PostgreSQL writes it: integers, dates and texts."""
    return tuple(str(row[name]) for name in natural_key(table))
