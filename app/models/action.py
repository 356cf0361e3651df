"""The bot's actions."""

from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Json, Phone, String50, String100, Timestamp, TimestampNow, UuidKey


class Action(Base):
    """Something that the bot did, or is to do, for a client."""

    __tablename__ = "actions"
    __table_args__ = ({"info": {"group": "business"}},)

    id: Mapped[UuidKey]
    company_id: Mapped[int | None] = mapped_column(index=True)
    client_phone: Mapped[Phone | None] = mapped_column(index=True)
    action_type: Mapped[String100 | None]
    action_data: Mapped[Json | None]
    status: Mapped[String50 | None] = mapped_column(index=True)
    created_at: Mapped[TimestampNow | None]
    executed_at: Mapped[Timestamp | None]
