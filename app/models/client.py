"""Clients."""

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    Count,
    Day,
    FalseByDefault,
    IntegerArray,
    Json,
    LongText,
    Money,
    Percentage,
    Phone,
    Rating,
    SerialKey,
    String50,
    String50Array,
    String100,
    String255,
    TextArray,
    Timestamp,
    TimestampNow,
)


class Client(Base):
    """A salon's client, with visits, purchases and what the bot has learned."""

    __tablename__ = "clients"
    __table_args__ = (
        UniqueConstraint("yclients_id", "company_id", name="clients_yclients_company_unique"),
        {"info": {"group": "business", "changed_at": "updated_at"}},
    )

    id: Mapped[SerialKey]
    yclients_id: Mapped[int] = mapped_column(index=True)
    name: Mapped[String255 | None]
    phone: Mapped[Phone] = mapped_column(index=True)
    raw_phone: Mapped[Phone | None]
    email: Mapped[String255 | None]
    discount: Mapped[Percentage | None]
    company_id: Mapped[int | None] = mapped_column(index=True)
    branch_ids: Mapped[IntegerArray | None]
    tags: Mapped[TextArray | None]
    status: Mapped[String50 | None]
    source: Mapped[String100 | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
    visit_count: Mapped[Count | None]
    total_spent: Mapped[Money | None]
    first_visit_date: Mapped[Day | None]
    last_visit_date: Mapped[Day | None] = mapped_column(index=True)
    last_services: Mapped[TextArray | None]
    visit_history: Mapped[Json | None]
    preferences: Mapped[Json | None]
    last_sync_at: Mapped[Timestamp | None]
    loyalty_level: Mapped[String50 | None]
    client_segment: Mapped[String50 | None]
    average_bill: Mapped[Money | None]
    last_service_ids: Mapped[IntegerArray | None]
    favorite_staff_ids: Mapped[IntegerArray | None]
    preferred_time_slots: Mapped[String50Array | None]
    blacklisted: Mapped[FalseByDefault | None]
    notes: Mapped[LongText | None]
    created_by_ai: Mapped[FalseByDefault | None]
    last_ai_interaction: Mapped[Timestamp | None]
    ai_context: Mapped[Json | None]
    ai_messages_count: Mapped[Count | None]
    ai_satisfaction_score: Mapped[Rating | None]
    services_amount: Mapped[Money | None]
    goods_amount: Mapped[Money | None]
    goods_purchases: Mapped[Json | None]
    goods_count: Mapped[Count | None]
