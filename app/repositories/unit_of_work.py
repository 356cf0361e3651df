"""The unit of work: one transaction with every repository in it."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from app import models
from app.errors import InvalidArgumentError
from app.repositories.bookings import BookingRepository
from app.repositories.clients import ClientRepository
from app.repositories.companies import CompanyRepository
from app.repositories.dialog_contexts import DialogContextRepository
from app.repositories.services import ServiceRepository
from app.repositories.staff import StaffRepository, StaffScheduleRepository
from app.stores.postgres.database import Database


class UnitOfWork:
    """A transaction on the bot's PostgreSQL; what is not committed at the end of the block is rolled back.

    async with UnitOfWork(database) as work:
        await work.clients.upsert([{"yclients_id": 7, "company_id": 1, "phone": "79684484488"}])
        await work.commit()
    """

    def __init__(self, database: Database) -> None:
        self._within = database.writer()

    async def __aenter__(self) -> Self:
        self._connection = connection = await self._within.__aenter__()
        self.clients = ClientRepository(connection)
        self.companies = CompanyRepository(connection)
        self.services = ServiceRepository(connection)
        self.staff = StaffRepository(connection)
        self.staff_schedules = StaffScheduleRepository(connection)
        self.bookings = BookingRepository(connection)
        self.dialog_contexts = DialogContextRepository(connection)
        return self

    async def upsert(self, model: type[models.Base], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Write rows of a model by its natural key, as its repository's `upsert` does.

        Raises:
            InvalidArgumentError: beside what that raises, the model has no repository that writes.
        """
        writers = self.clients, self.companies, self.services, self.staff, self.staff_schedules, self.dialog_contexts
        for repository in writers:
            if repository.model is model:
                return await repository.upsert(rows)
        raise InvalidArgumentError(f"{model.__tablename__} is not written through a unit of work")

    async def commit(self) -> None:
        """Make the writes last.

        Raises:
            OutcomeUnknownError: the connection was lost in between, or a synchronous standby is away; they may have
                been committed.
            StoreError: rolled back.
        """
        await self._connection.commit()

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._within.__aexit__(exception_type, exception, traceback)
