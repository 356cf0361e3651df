"""The bot's conversations."""

from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    Count,
    Json,
    PhoneUserId,
    String50,
    String100,
    Timestamp,
    TimestampNow,
    UuidKey,
)


class DialogContext(Base):
    """The state of the bot's conversation with one person."""

    __tablename__ = "dialog_contexts"
    __table_args__ = (
        UniqueConstraint("user_id"),
        {"info": {"group": "business", "changed_at": "updated_at"}},
    )

    id: Mapped[UuidKey]
    user_id: Mapped[PhoneUserId] = mapped_column(index=True)
    state: Mapped[String100 | None]
    data: Mapped[Json | None]
    messages: Mapped[Json | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
    client_id: Mapped[int | None]
    last_activity: Mapped[Timestamp | None] = mapped_column(index=True)
    message_count: Mapped[Count | None]
    last_booking_id: Mapped[UUID | None]
    session_type: Mapped[String50 | None]
    context_metadata: Mapped[Json | None]
    company_id: Mapped[int | None] = mapped_column(index=True)
