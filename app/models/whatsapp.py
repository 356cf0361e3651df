"""Baileys' WhatsApp session tables: the login and its keys, written by the running bot."""

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from app.models.base import Base, Instant, InstantNow, PhoneTextKey, SecretJson, TextKey

EXPIRES = text("expires_at IS NOT NULL")


class WhatsappAuth(Base):
    """A company's WhatsApp login."""

    __tablename__ = "whatsapp_auth"
    __table_args__ = (
        Index("idx_whatsapp_auth_company", "company_id"),
        {"info": {"group": "baileys", "changed_at": "updated_at"}},
    )

    company_id: Mapped[TextKey]
    creds: Mapped[SecretJson]
    created_at: Mapped[InstantNow | None]
    updated_at: Mapped[InstantNow | None]


class WhatsappKey(Base):
    """One Signal protocol key of a WhatsApp login."""

    __tablename__ = "whatsapp_keys"
    __table_args__ = (
        Index("idx_whatsapp_keys_company", "company_id"),
        Index(
            "idx_whatsapp_keys_company_type_id",
            "company_id",
            "key_type",
            "key_id",
            postgresql_include=["value", "created_at", "updated_at", "expires_at"],
        ),
        Index("idx_whatsapp_keys_expires", "expires_at", postgresql_where=EXPIRES),
        Index("idx_whatsapp_keys_expires_cleanup", "expires_at", postgresql_where=EXPIRES),
        Index("idx_whatsapp_keys_type", "key_type"),
        Index("idx_whatsapp_keys_type_company", "key_type", "company_id"),
        {"info": {"group": "baileys", "changed_at": "updated_at"}},
    )

    company_id: Mapped[TextKey]
    key_type: Mapped[TextKey]
    key_id: Mapped[PhoneTextKey]
    value: Mapped[SecretJson]
    created_at: Mapped[InstantNow | None]
    updated_at: Mapped[InstantNow | None]
    expires_at: Mapped[Instant | None]
