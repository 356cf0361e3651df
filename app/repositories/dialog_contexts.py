"""Dialog contexts: the bot's conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from app.models import DialogContext
from app.repositories.base import Repository
from app.rows import DialogContextRow, table_of

_CONTEXTS = table_of(DialogContext)
_ALL = select(*_CONTEXTS.c)


class DialogContextRepository(Repository[DialogContextRow]):
    """The table `dialog_contexts`."""

    model = DialogContext
    row = DialogContextRow

    async def get(self, user_id: str) -> DialogContextRow | None:
        """The context of one person."""
        statement = _ALL.where(_CONTEXTS.c.user_id == user_id)
        return await self._one(statement, "several contexts have this user_id")

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[DialogContextRow]:
        """Write contexts by user_id: the given columns of each; the stored rows in that order."""
        return await self._upsert(rows)
