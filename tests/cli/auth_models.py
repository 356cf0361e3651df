"""Models as people write them for Supabase: foreign keys that lead to auth.users, which has no model here."""

from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[UUID] = mapped_column(ForeignKey("auth.users.id", ondelete="CASCADE"), primary_key=True)
    nickname: Mapped[str] = mapped_column(Text)
    invited_by = mapped_column(ForeignKey("auth.users.id"))  # no type: it would come from the table that is not here
