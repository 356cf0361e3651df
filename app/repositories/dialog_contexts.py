"""Dialog contexts: the bot's conversations."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.models import DialogContext
from app.repositories.base import Repository
from app.stores.codec.rows import DialogContextRow


class DialogContextRepository(Repository[DialogContextRow]):
    """The table `dialog_contexts`."""

    model = DialogContext
    row = DialogContextRow

    async def get(self, user_id: str) -> DialogContextRow | None:
        """The context of one person."""
        return await self._one("several contexts have this user_id", user_id=user_id)

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> list[DialogContextRow]:
        """Write contexts by user_id: the given columns of each; the stored rows in that order."""
        return await self._upsert(rows)
