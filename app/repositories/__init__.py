"""The repositories: one per aggregate, on the bot's own PostgreSQL, written to through one unit of work."""

from app.repositories.bookings import BookingRepository
from app.repositories.clients import ClientRepository
from app.repositories.companies import CompanyRepository
from app.repositories.dialog_contexts import DialogContextRepository
from app.repositories.services import ServiceRepository
from app.repositories.staff import StaffRepository, StaffScheduleRepository
from app.repositories.unit_of_work import UnitOfWork
from app.stores.postgres.database import Database

__all__ = [
    "BookingRepository",
    "ClientRepository",
    "CompanyRepository",
    "Database",
    "DialogContextRepository",
    "ServiceRepository",
    "StaffRepository",
    "StaffScheduleRepository",
    "UnitOfWork",
]
