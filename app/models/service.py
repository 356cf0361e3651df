"""Services."""

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    Count,
    Json,
    LongText,
    Money,
    Percentage,
    SerialKey,
    String255,
    String500,
    Timestamp,
    TimestampNow,
    TrueByDefault,
)


class Service(Base):
    """A service that a salon offers."""

    __tablename__ = "services"
    __table_args__ = (
        UniqueConstraint("yclients_id", "company_id", name="services_yclients_company_unique"),
        {"info": {"group": "business", "changed_at": "updated_at"}},
    )

    id: Mapped[SerialKey]
    yclients_id: Mapped[int] = mapped_column(index=True)
    company_id: Mapped[int | None] = mapped_column(index=True)
    title: Mapped[String500]
    category_id: Mapped[int | None]
    category_title: Mapped[String255 | None]
    price_min: Mapped[Money | None]
    price_max: Mapped[Money | None]
    discount: Mapped[Percentage | None]
    duration: Mapped[int | None]
    seance_length: Mapped[int | None]
    is_active: Mapped[TrueByDefault | None] = mapped_column(index=True)
    is_bookable: Mapped[TrueByDefault | None]
    description: Mapped[LongText | None]
    weight: Mapped[Count | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
    last_sync_at: Mapped[Timestamp | None]
    raw_data: Mapped[Json | None]
    image_url: Mapped[String500 | None]
    declensions: Mapped[Json | None]
