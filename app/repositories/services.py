"""Services that the salons offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select

from app.models import Service
from app.repositories.base import Repository, by_code_point, given
from app.rows import ServiceRow, table_of

_SERVICES = table_of(Service)
_ALL = select(*_SERVICES.c)


class ServiceRepository(Repository[ServiceRow]):
    """The table `services`. Lists are in the order of weight (the heaviest first, NULL last), title and id."""

    model = Service
    row = ServiceRow

    async def list_of_company(self, company_id: int, *, include_inactive: bool = False) -> list[ServiceRow]:
        """The services of a company, the active ones unless asked."""
        return await self._rows(_listed(_of_company(company_id, include_inactive=include_inactive)))

    async def list_of_category(self, company_id: int, category_id: int) -> list[ServiceRow]:
        """The active services of one category of a company."""
        statement = _of_company(company_id, include_inactive=False).where(_SERVICES.c.category_id == category_id)
        return await self._rows(_listed(statement))

    async def get_by_yclients_id(self, yclients_id: int, company_id: int | None = None) -> ServiceRow | None:
        """The service with an id of YCLIENTS; AmbiguousError when several companies know it."""
        message = "services of several companies have this id"
        return await self._one(message, yclients_id=yclients_id, **given(company_id=company_id))

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[ServiceRow]:
        """Write services by (yclients_id, company_id): the given columns of each; the stored rows in that order."""
        return await self._upsert(rows)


def _of_company(company_id: int, *, include_inactive: bool) -> Select[Any]:
    statement = _ALL.where(_SERVICES.c.company_id == company_id)
    return statement if include_inactive else statement.where(_SERVICES.c.is_active.is_(True))


def _listed(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(_SERVICES.c.weight.desc().nulls_last(), by_code_point(_SERVICES.c.title), _SERVICES.c.id)
