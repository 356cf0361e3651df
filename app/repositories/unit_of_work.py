"""The unit of work: one transaction with every repository in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from app import models
from app.db import Database, translated_errors
from app.errors import OutcomeUnknownError, UnavailableError
from app.repositories.bookings import BookingRepository
from app.repositories.clients import ClientRepository
from app.repositories.companies import CompanyRepository
from app.repositories.dialog_contexts import DialogContextRepository
from app.repositories.services import ServiceRepository
from app.repositories.staff import StaffRepository, StaffScheduleRepository


class WritingRepository(Protocol):
    """A repository that writes."""

    model: ClassVar[type[models.Base]]

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]: ...


class UnitOfWork:
    """A transaction on the bot's PostgreSQL; what is not committed at the end of the block is rolled back.

    async with UnitOfWork(database) as work:
        await work.clients.upsert([{"yclients_id": 7, "company_id": 1, "phone": "79684484488"}])
        await work.commit()
    """

    clients: ClientRepository
    companies: CompanyRepository
    services: ServiceRepository
    staff: StaffRepository
    staff_schedules: StaffScheduleRepository
    bookings: BookingRepository
    dialog_contexts: DialogContextRepository

    def __init__(self, database: Database) -> None:
        self._database = database
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._connection = connection = await self._exit.enter_async_context(self._database.writer())
        self.clients = ClientRepository(connection)
        self.companies = CompanyRepository(connection)
        self.services = ServiceRepository(connection)
        self.staff = StaffRepository(connection)
        self.staff_schedules = StaffScheduleRepository(connection)
        self.bookings = BookingRepository(connection)
        self.dialog_contexts = DialogContextRepository(connection)
        return self

    def of(self, model: type[models.Base]) -> WritingRepository:
        """The repository that writes a model's rows."""
        repositories: tuple[WritingRepository, ...] = (
            self.clients,
            self.companies,
            self.services,
            self.staff,
            self.staff_schedules,
            self.dialog_contexts,
        )
        return next(repository for repository in repositories if repository.model is model)

    async def commit(self) -> None:
        """Make the writes last.

        Raises:
            OutcomeUnknownError: the connection was lost in between; they may have been committed.
        """
        try:
            with translated_errors(writing=True):
                await self._connection.commit()
        except UnavailableError as error:
            raise OutcomeUnknownError("the connection to PostgreSQL was lost during a commit") from error

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._exit.__aexit__(exception_type, exception, traceback)
