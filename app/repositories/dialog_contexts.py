"""Dialog contexts: the bot's conversations."""

from app.models import DialogContext
from app.repositories.base import WritingRepository
from app.stores.codec.rows import DialogContextRow


class DialogContextRepository(WritingRepository[DialogContextRow]):
    """The table `dialog_contexts`."""

    model = DialogContext
    row = DialogContextRow

    async def get(self, user_id: str) -> DialogContextRow | None:
        """The context of one person."""
        return await self._one("several contexts have this user_id", user_id=user_id)
