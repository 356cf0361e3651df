"""The tables, as SQLAlchemy models: the one place that knows them."""

from app.models.action import Action
from app.models.base import Base, natural_key, store_filled
from app.models.booking import Booking
from app.models.client import Client
from app.models.company import Company, CompanySyncStatus
from app.models.dialog_context import DialogContext
from app.models.message import Message
from app.models.service import Service
from app.models.staff import Staff, StaffSchedule
from app.models.whatsapp import WhatsappAuth, WhatsappKey

__all__ = [
    "Action",
    "Base",
    "Booking",
    "Client",
    "Company",
    "CompanySyncStatus",
    "DialogContext",
    "Message",
    "Service",
    "Staff",
    "StaffSchedule",
    "WhatsappAuth",
    "WhatsappKey",
    "natural_key",
    "store_filled",
]
