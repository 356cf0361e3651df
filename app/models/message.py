"""Messages, incoming and outgoing."""

from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Json, LongText, Phone, String20, String50, TimestampNow, UuidKey


class Message(Base):
    """A message that the bot sent or received."""

    __tablename__ = "messages"
    __table_args__ = ({"info": {"group": "business"}},)

    id: Mapped[UuidKey]
    company_id: Mapped[int | None] = mapped_column(index=True)
    client_phone: Mapped[Phone | None] = mapped_column(index=True)
    direction: Mapped[String20 | None]
    content: Mapped[LongText | None]
    message_type: Mapped[String50 | None]
    status: Mapped[String50 | None]
    created_at: Mapped[TimestampNow | None] = mapped_column(index=True)
    metadata_: Mapped[Json | None] = mapped_column("metadata")
