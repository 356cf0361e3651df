"""Staff, and their working days."""

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    BigSerialKey,
    Count,
    Day,
    IntegerArray,
    Json,
    LongText,
    Phone,
    Rating,
    SerialKey,
    String50,
    String100,
    String255,
    TimeOfDay,
    Timestamp,
    TimestampNow,
    TrueByDefault,
)


class Staff(Base):
    """A member of a salon's staff."""

    __tablename__ = "staff"
    __table_args__ = (
        UniqueConstraint("yclients_id", "company_id", name="staff_yclients_company_unique"),
        {"info": {"group": "business", "changed_at": "updated_at"}},
    )

    id: Mapped[SerialKey]
    yclients_id: Mapped[int] = mapped_column(index=True)
    company_id: Mapped[int | None] = mapped_column(index=True)
    name: Mapped[String255]
    specialization: Mapped[String255 | None]
    position: Mapped[String100 | None]
    is_active: Mapped[TrueByDefault | None] = mapped_column(index=True)
    is_bookable: Mapped[TrueByDefault | None]
    rating: Mapped[Rating | None]
    votes_count: Mapped[Count | None]
    comments_count: Mapped[Count | None]
    avatar_url: Mapped[LongText | None]
    information: Mapped[LongText | None]
    service_ids: Mapped[IntegerArray | None]
    email: Mapped[String255 | None]
    phone: Mapped[Phone | None]
    telegram: Mapped[String100 | None]
    experience_years: Mapped[int | None]
    level_name: Mapped[String100 | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
    last_sync_at: Mapped[Timestamp | None]
    raw_data: Mapped[Json | None]
    declensions: Mapped[Json | None]


class StaffSchedule(Base):
    """One working day of one member of staff."""

    __tablename__ = "staff_schedules"
    __table_args__ = (
        UniqueConstraint("staff_id", "date", name="staff_schedules_staff_date_unique"),
        Index("idx_staff_schedules_staff_date", "staff_id", "date"),
        {"info": {"group": "business", "changed_at": "last_updated"}},
    )

    id: Mapped[BigSerialKey]
    staff_id: Mapped[int] = mapped_column(index=True)
    staff_name: Mapped[String255 | None]
    date: Mapped[Day] = mapped_column(index=True)
    is_working: Mapped[TrueByDefault | None]
    work_start: Mapped[TimeOfDay | None]
    work_end: Mapped[TimeOfDay | None]
    working_hours: Mapped[String50 | None]
    last_updated: Mapped[TimestampNow | None]
    has_booking_slots: Mapped[TrueByDefault | None]
