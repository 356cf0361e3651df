"""Clients."""

from sqlalchemy import Text, bindparam, select

from app.models import Client
from app.repositories.base import LIMIT, WritingRepository, given, parameter
from app.stores.codec.rows import ClientRow, ClientSummary, table_of

_CLIENTS = table_of(Client)
_BY_NAME = (
    select(*[_CLIENTS.c[name] for name in ClientSummary._fields])
    .where(
        _CLIENTS.c.company_id == parameter(_CLIENTS.c.company_id),
        _CLIENTS.c.name.op("~")(bindparam("pattern", type_=Text())),
    )
    .order_by(_CLIENTS.c.last_visit_date.desc().nulls_last(), _CLIENTS.c.visit_count.desc().nulls_last(), _CLIENTS.c.id)
    .limit(LIMIT)
)


class ClientRepository(WritingRepository[ClientRow]):
    """The table `clients`."""

    model = Client
    row = ClientRow

    async def get_by_phone(self, phone: str, company_id: int | None = None) -> ClientRow | None:
        """The client with a phone (E.164 digits without `+`); AmbiguousError when several share it."""
        return await self._one("several clients have this phone", phone=phone, **given(company_id=company_id))

    async def get_by_yclients_id(self, yclients_id: int, company_id: int | None = None) -> ClientRow | None:
        """The client with an id of YCLIENTS; AmbiguousError when several companies know it."""
        message = "clients of several companies have this id"
        return await self._one(message, yclients_id=yclients_id, **given(company_id=company_id))

    async def search_by_name(self, company_id: int, pattern: str, limit: int) -> list[ClientSummary]:
        """Clients of a company whose name matches a regular expression, see `app.data_layer.name_search.containing`.

        The latest visit first (NULL last), then the most visits (NULL last), then by id.
        """
        values = {"company_id": company_id, "pattern": pattern, "limit": limit}
        return await self._rows(_BY_NAME, values, ClientSummary._make)
