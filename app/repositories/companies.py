"""Companies: the salons."""

from sqlalchemy import select

from app.models import Company
from app.repositories.base import WritingRepository, parameter
from app.stores.codec.rows import CompanyRow, table_of

_COMPANIES = table_of(Company)
_TINY = select(_COMPANIES.c.id).limit(1)
_TIMEZONE = select(_COMPANIES.c.timezone).where(_COMPANIES.c.company_id == parameter(_COMPANIES.c.company_id))


class CompanyRepository(WritingRepository[CompanyRow]):
    """The table `companies`."""

    model = Company
    row = CompanyRow

    async def get(self, company_id: int) -> CompanyRow | None:
        """The company with a `company_id`."""
        return await self._one("several companies have this id", company_id=company_id)

    async def timezone(self, company_id: int) -> str | None:
        """`companies.timezone`; None, too, where there is no such company."""
        rows = await self._source.fetch(_TIMEZONE, {"company_id": company_id})
        return rows[0][0] if rows else None

    async def ping(self) -> None:
        """One tiny read."""
        await self._source.fetch(_TINY)
