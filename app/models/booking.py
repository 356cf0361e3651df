"""Bookings."""

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    Day,
    FalseByDefault,
    IntegerArray,
    LongText,
    Money,
    Phone,
    String50,
    String255,
    TextArray,
    Timestamp,
    TimestampNow,
    UuidKey,
)


class Booking(Base):
    """A client's visit, booked or past."""

    __tablename__ = "bookings"
    __table_args__ = (
        UniqueConstraint("yclients_record_id", "company_id", name="bookings_yclients_company_unique"),
        {"info": {"group": "business", "changed_at": "updated_at"}},
    )

    id: Mapped[UuidKey]
    yclients_record_id: Mapped[int] = mapped_column(index=True)
    company_id: Mapped[int | None] = mapped_column(index=True)
    client_phone: Mapped[Phone | None] = mapped_column(index=True)
    client_name: Mapped[String255 | None]
    client_yclients_id: Mapped[int | None]
    staff_id: Mapped[int | None]
    staff_name: Mapped[String255 | None]
    services: Mapped[TextArray | None]
    service_ids: Mapped[IntegerArray | None]
    datetime: Mapped[Timestamp] = mapped_column(index=True)
    date: Mapped[Day | None] = mapped_column(index=True)
    duration: Mapped[int | None]
    cost: Mapped[Money | None]
    prepaid: Mapped[Money | None]
    status: Mapped[String50 | None]
    visit_attendance: Mapped[int | None]
    comment: Mapped[LongText | None]
    online: Mapped[FalseByDefault | None]
    record_hash: Mapped[String255 | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
    synced_at: Mapped[Timestamp | None]
    created_by_bot: Mapped[FalseByDefault | None]
