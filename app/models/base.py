"""The declarative base of all models, and the column types they share.

What the rest of the program reads from the tables, beside columns and keys:

- `Table.info["group"]`: "business", or "baileys" for the WhatsApp session tables.
- `Table.info["changed_at"]`: name of the column that says when a row last changed; absent where none does.
- `Table.info["natural_key"]`: names of the natural key's columns, taken from the table's unique constraint;
  absent where there is none.
- `Column.info["phone"]`: True where the values are, or contain, phone numbers, which output masks.
- `Column.info["secret"]`: True where the values are credentials, which output never shows.

Functions, triggers, policies and row-level security live in the revisions only.
"""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

# Nullability is the attribute's own: `Mapped[Money]` is NOT NULL, `Mapped[Money | None]` is not.

SerialKey = Annotated[int, mapped_column(Integer, primary_key=True)]
BigSerialKey = Annotated[int, mapped_column(BigInteger, primary_key=True)]
UuidKey = Annotated[UUID, mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))]
TextKey = Annotated[str, mapped_column(Text, primary_key=True)]
PhoneTextKey = Annotated[str, mapped_column(Text, primary_key=True, info={"phone": True})]

String10 = Annotated[str, mapped_column(String(10))]
String20 = Annotated[str, mapped_column(String(20))]
String50 = Annotated[str, mapped_column(String(50))]
String100 = Annotated[str, mapped_column(String(100))]
String255 = Annotated[str, mapped_column(String(255))]
String500 = Annotated[str, mapped_column(String(500))]
LongText = Annotated[str, mapped_column(Text)]
Phone = Annotated[str, mapped_column(String(50), info={"phone": True})]
PhoneUserId = Annotated[str, mapped_column(String(255), info={"phone": True})]
SecretString255 = Annotated[str, mapped_column(String(255), info={"secret": True})]

Count = Annotated[int, mapped_column(server_default=text("0"))]
TrueByDefault = Annotated[bool, mapped_column(server_default=text("true"))]
FalseByDefault = Annotated[bool, mapped_column(server_default=text("false"))]

Money = Annotated[Decimal, mapped_column(Numeric(12, 2))]
Percentage = Annotated[Decimal, mapped_column(Numeric(5, 2))]
Rating = Annotated[Decimal, mapped_column(Numeric(3, 2))]
Coordinate = Annotated[Decimal, mapped_column(Numeric(10, 7))]

# Short names of their own, since `date` and `datetime` are also names of columns.
Day = Annotated[date, mapped_column()]
TimeOfDay = Annotated[time, mapped_column()]
Timestamp = Annotated[datetime, mapped_column(DateTime())]
TimestampNow = Annotated[datetime, mapped_column(DateTime(), server_default=text("CURRENT_TIMESTAMP"))]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
InstantNow = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=text("now()"))]

IntegerArray = Annotated[list[int], mapped_column(ARRAY(Integer))]
TextArray = Annotated[list[str], mapped_column(ARRAY(Text))]
String50Array = Annotated[list[str], mapped_column(ARRAY(String(50)))]
# None is written as SQL NULL, never as JSON null.
Json = Annotated[Any, mapped_column(JSONB(none_as_null=True))]
SecretJson = Annotated[Any, mapped_column(JSONB(none_as_null=True), info={"secret": True})]


class Base(DeclarativeBase):
    """Base of all models; its metadata is the one description of the tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "ix": "idx_%(table_name)s_%(column_0_N_name)s",
            "uq": "%(table_name)s_%(column_0_N_name)s_unique",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        table = cls.metadata.tables[cls.__tablename__]
        if key := natural_key(table):
            table.info["natural_key"] = key


def natural_key(table: Table) -> tuple[str, ...] | None:
    """Column names of the table's only unique constraint, in its order; None if it has none or several."""
    unique = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    return tuple(unique[0].columns.keys()) if len(unique) == 1 else None


def store_filled(column: Column[Any]) -> bool:
    """Whether PostgreSQL makes the value up: a serial or uuid primary key, or a default from its clock.

    Such values differ between two stores that are given the same writes.
    """
    if column.table.autoincrement_column is column:
        return True
    default = getattr(column.server_default, "arg", None)
    return str(default) in {"gen_random_uuid()", "CURRENT_TIMESTAMP", "now()"}
