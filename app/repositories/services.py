"""Services that the salons offer."""

from sqlalchemy import select

from app.models import Service
from app.repositories.base import WritingRepository, by_code_point, given, parameter
from app.stores.codec.rows import ServiceRow, table_of

_SERVICES = table_of(Service)
_ALL_SERVICES = (
    select(*_SERVICES.c)
    .where(_SERVICES.c.company_id == parameter(_SERVICES.c.company_id))
    .order_by(_SERVICES.c.weight.desc().nulls_last(), by_code_point(_SERVICES.c.title), _SERVICES.c.id)
)
_ACTIVE = _ALL_SERVICES.where(_SERVICES.c.is_active.is_(True))
_OF_CATEGORY = _ACTIVE.where(_SERVICES.c.category_id == parameter(_SERVICES.c.category_id))


class ServiceRepository(WritingRepository[ServiceRow]):
    """The table `services`. Lists are in the order of weight (the heaviest first, NULL last), title and id."""

    model = Service
    row = ServiceRow

    async def list_of_company(self, company_id: int, *, include_inactive: bool = False) -> list[ServiceRow]:
        """The services of a company, the active ones unless asked."""
        return await self._rows(_ALL_SERVICES if include_inactive else _ACTIVE, {"company_id": company_id})

    async def list_of_category(self, company_id: int, category_id: int) -> list[ServiceRow]:
        """The active services of one category of a company."""
        return await self._rows(_OF_CATEGORY, {"company_id": company_id, "category_id": category_id})

    async def get_by_yclients_id(self, yclients_id: int, company_id: int | None = None) -> ServiceRow | None:
        """The service with an id of YCLIENTS; AmbiguousError when several companies know it."""
        message = "services of several companies have this id"
        return await self._one(message, yclients_id=yclients_id, **given(company_id=company_id))
