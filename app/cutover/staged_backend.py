"""The backend of a cutover: each call goes to the store that its stage names, and writes to the other one too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from app.cutover.stages import Stage, Store
from app.errors import AuthorityMovedError

if TYPE_CHECKING:
    from app.cutover.membership import Membership
    from app.cutover.shadow.comparisons import Comparisons
    from app.models import Base
    from app.stores.backend import Backend, Upcoming
    from app.stores.codec.json_rows import Values
    from app.stores.codec.rows import (
        BookingRow,
        ClientRow,
        ClientSummary,
        CompanyRow,
        DialogContextRow,
        ServiceRow,
        StaffRow,
        StaffScheduleRow,
    )
    from app.stores.outgoing_write import OutgoingWrite
    from app.stores.postgres.database import Database

T = TypeVar("T")


class AuthorityWriter(Protocol):
    """Writes to one authority and sees to it that the other store gets the rows."""

    @property
    def pending(self) -> int:
        """Mirrors that have not settled."""

    @property
    def spooled(self) -> int:
        """Notes in the spool file."""

    @property
    def problem(self) -> str | None:
        """What the owner should know, in a sentence."""

    async def start(self) -> None:
        """Begin what runs in the background."""
        ...

    async def upsert(self, stage: Stage, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        """The authority's answer; the mirror is waited for no longer than a small time.

        Raises:
            AuthorityMovedError: the stage has moved; nothing was written.
            DataError: the authority's own.
        """
        ...

    async def close(self) -> None:
        """End what still runs; what is left is written down already."""
        ...


class StagedBackend:
    """Asks for the stage at every call. See `Backend` for the methods.

    Args:
        stores: the two backends; only those that the stages of this process can need.
        writers: by the authority that they write to.
        pools: connections to the target beside those of the stores; closed with this.
    """

    def __init__(
        self,
        membership: Membership,
        stores: Mapping[Store, Backend],
        writers: Mapping[Store, AuthorityWriter],
        comparisons: Comparisons,
        pools: Sequence[Database] = (),
    ) -> None:
        self.membership = membership
        self._stores = stores
        self._writers = writers
        self._comparisons = comparisons
        self._pools = pools

    async def upsert(self, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        while True:
            async with self.membership.writing() as stage:
                try:
                    with self._comparisons.answering():
                        return await self._writers[stage.authority].upsert(stage, model, rows, write)
                except AuthorityMovedError:
                    write.was_refused()
            await self.membership.look_again(stage)

    async def ping(self) -> None:
        await self._stores[self.membership.stage.authority].ping()

    async def close(self) -> None:
        try:
            await asyncio.gather(self._comparisons.close(), *(writer.close() for writer in self._writers.values()))
        finally:
            await self.membership.close()
            for store in self._stores.values():
                await store.close()
            for pool in self._pools:
                await pool.close()

    async def _read(self, call: Callable[[Backend], Awaitable[T]], method: str, **arguments: Any) -> T:
        return await self._comparisons.read(self.membership.stage, call, method, arguments)

    async def get_dialog_context(self, user_id: str) -> DialogContextRow | None:
        return await self._read(lambda store: store.get_dialog_context(user_id), "get_dialog_context", user_id=user_id)

    async def get_client_by_phone(self, phone: str, company_id: int | None) -> ClientRow | None:
        return await self._read(
            lambda store: store.get_client_by_phone(phone, company_id),
            "get_client_by_phone",
            phone=phone,
            company_id=company_id,
        )

    async def get_client_by_id(self, yclients_id: int, company_id: int | None) -> ClientRow | None:
        return await self._read(
            lambda store: store.get_client_by_id(yclients_id, company_id),
            "get_client_by_id",
            yclients_id=yclients_id,
            company_id=company_id,
        )

    async def get_client_appointments(
        self, client_id: int, *, company_id: int | None, limit: int, order_by: str, descending: bool
    ) -> list[BookingRow]:
        options: dict[str, Any] = {
            "company_id": company_id,
            "limit": limit,
            "order_by": order_by,
            "descending": descending,
        }
        return await self._read(
            lambda store: store.get_client_appointments(client_id, **options),
            "get_client_appointments",
            client_id=client_id,
            **options,
        )

    async def get_upcoming_appointments(self, client_id: int, company_id: int, now: datetime) -> Upcoming:
        return await self._read(
            lambda store: store.get_upcoming_appointments(client_id, company_id, now),
            "get_upcoming_appointments",
            client_id=client_id,
            company_id=company_id,
            now=now,
        )

    async def search_clients_by_name(self, company_id: int, pattern: str, limit: int) -> list[ClientSummary]:
        return await self._read(
            lambda store: store.search_clients_by_name(company_id, pattern, limit),
            "search_clients_by_name",
            company_id=company_id,
            pattern=pattern,
            limit=limit,
        )

    async def get_staff_by_id(self, staff_id: int, company_id: int) -> StaffRow | None:
        return await self._read(
            lambda store: store.get_staff_by_id(staff_id, company_id),
            "get_staff_by_id",
            staff_id=staff_id,
            company_id=company_id,
        )

    async def get_staff_schedules(
        self,
        company_id: int,
        *,
        limit: int,
        staff_id: int | None,
        staff_name: str | None,
        date_from: date | None,
        date_to: date | None,
        is_working: bool | None,
    ) -> list[StaffScheduleRow]:
        options: dict[str, Any] = {
            "limit": limit,
            "staff_id": staff_id,
            "staff_name": staff_name,
            "date_from": date_from,
            "date_to": date_to,
            "is_working": is_working,
        }
        return await self._read(
            lambda store: store.get_staff_schedules(company_id, **options),
            "get_staff_schedules",
            company_id=company_id,
            **options,
        )

    async def get_staff_schedule(self, staff_id: int, day: date, company_id: int | None) -> StaffScheduleRow | None:
        return await self._read(
            lambda store: store.get_staff_schedule(staff_id, day, company_id),
            "get_staff_schedule",
            staff_id=staff_id,
            day=day,
            company_id=company_id,
        )

    async def get_services(self, company_id: int, *, include_inactive: bool) -> list[ServiceRow]:
        return await self._read(
            lambda store: store.get_services(company_id, include_inactive=include_inactive),
            "get_services",
            company_id=company_id,
            include_inactive=include_inactive,
        )

    async def get_staff(self, company_id: int, *, include_inactive: bool) -> list[StaffRow]:
        return await self._read(
            lambda store: store.get_staff(company_id, include_inactive=include_inactive),
            "get_staff",
            company_id=company_id,
            include_inactive=include_inactive,
        )

    async def get_service_by_id(self, yclients_id: int, company_id: int | None) -> ServiceRow | None:
        return await self._read(
            lambda store: store.get_service_by_id(yclients_id, company_id),
            "get_service_by_id",
            yclients_id=yclients_id,
            company_id=company_id,
        )

    async def get_services_by_category(self, company_id: int, category_id: int) -> list[ServiceRow]:
        return await self._read(
            lambda store: store.get_services_by_category(company_id, category_id),
            "get_services_by_category",
            company_id=company_id,
            category_id=category_id,
        )

    async def get_company(self, company_id: int) -> CompanyRow | None:
        return await self._read(lambda store: store.get_company(company_id), "get_company", company_id=company_id)
