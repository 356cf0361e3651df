"""Salons, and the state of their synchronisation."""

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import (
    Base,
    Coordinate,
    Count,
    FalseByDefault,
    Json,
    LongText,
    Phone,
    SecretJson,
    SecretString255,
    SerialKey,
    String10,
    String100,
    String255,
    String500,
    Timestamp,
    TimestampNow,
    TrueByDefault,
)


class Company(Base):
    """A salon, with its settings and its WhatsApp connection."""

    __tablename__ = "companies"
    __table_args__ = (
        UniqueConstraint("company_id"),
        {"info": {"group": "business", "changed_at": "updated_at"}},
    )

    id: Mapped[SerialKey]
    company_id: Mapped[int] = mapped_column(index=True)
    yclients_id: Mapped[int | None] = mapped_column(index=True)
    title: Mapped[String255 | None]
    address: Mapped[String500 | None]
    phone: Mapped[Phone | None]
    email: Mapped[String255 | None]
    website: Mapped[String255 | None]
    timezone: Mapped[String100 | None]
    working_hours: Mapped[String255 | None]
    coordinate_lat: Mapped[Coordinate | None]
    coordinate_lon: Mapped[Coordinate | None]
    currency: Mapped[String10 | None]
    ai_enabled: Mapped[FalseByDefault | None]
    sync_enabled: Mapped[TrueByDefault | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
    last_sync_at: Mapped[Timestamp | None]
    raw_data: Mapped[Json | None]
    whatsapp_enabled: Mapped[FalseByDefault | None]
    whatsapp_config: Mapped[SecretJson | None]
    whatsapp_connected: Mapped[FalseByDefault | None]
    whatsapp_phone: Mapped[Phone | None]
    whatsapp_connected_at: Mapped[Timestamp | None]
    integration_status: Mapped[String100 | None]
    connected_at: Mapped[Timestamp | None]
    marketplace_user_id: Mapped[String255 | None]
    marketplace_user_name: Mapped[String255 | None]
    marketplace_user_phone: Mapped[Phone | None]
    marketplace_user_email: Mapped[String255 | None]
    whatsapp_session_data: Mapped[SecretJson | None]
    api_key: Mapped[SecretString255 | None]
    webhook_secret: Mapped[SecretString255 | None]
    last_payment_date: Mapped[Timestamp | None]


class CompanySyncStatus(Base):
    """How the last synchronisation of a salon's data went."""

    __tablename__ = "company_sync_status"
    __table_args__ = ({"info": {"group": "business", "changed_at": "updated_at"}},)

    id: Mapped[SerialKey]
    company_id: Mapped[int] = mapped_column(index=True)
    last_sync_at: Mapped[Timestamp | None]
    last_sync_success: Mapped[bool | None]
    last_sync_error: Mapped[LongText | None]
    clients_synced: Mapped[Count | None]
    services_synced: Mapped[Count | None]
    staff_synced: Mapped[Count | None]
    bookings_synced: Mapped[Count | None]
    created_at: Mapped[TimestampNow | None]
    updated_at: Mapped[TimestampNow | None]
