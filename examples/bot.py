"""A small bot: a chat at the console, all of whose data goes through the data layer.

    python examples/servers.py salon                # in one terminal: both stores, with a made-up salon
    cd salon && python ../examples/bot.py           # in another: the bot, as the salon's first client

It answers "when is my next visit", "what does a haircut cost", "my name is Anna" and "what is my name", and remembers
the conversation in its dialog context. Settings are those of any bot (docs/data-layer.md). Ctrl-D or SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
from datetime import UTC, datetime
from threading import Thread
from typing import Any

from app.data_layer import DataLayer, Result, open_data_layer
from app.errors import SettingsError

COMPANY = 962302  # the made-up salon
PHONE = "79000000001"  # its first client
REMEMBERED = 20  # messages of a conversation
SERVICES = {"haircut": "стрижка", "beard": "бород", "colour": "окрашивание", "manicure": "маникюр"}


class CannotAnswerError(Exception):
    """The data layer answered with an error."""


class Bot:
    """One person's conversation.

    Args:
        phone: the person's, by which the conversation and the client are known.
    """

    def __init__(self, data: DataLayer, phone: str) -> None:
        self._data = data
        self._phone = phone

    async def answer(self, text: str) -> str:
        """One line; both sides of the conversation are remembered first."""
        try:
            context = _of(await self._data.get_dialog_context(self._phone))
            known = dict(context.data or {}) if context else {}
            said = await self._answer(text, known)
            now = datetime.now(UTC).isoformat()
            messages = [*((context.messages if context else None) or [])]
            messages += [{"role": "user", "text": text, "at": now}, {"role": "bot", "text": said, "at": now}]
            conversation = {
                "user_id": self._phone,
                "company_id": COMPANY,
                "data": known,
                "messages": messages[-REMEMBERED:],
                "message_count": ((context.message_count if context else None) or 0) + 2,
            }
            _of(await self._data.upsert_dialog_context(conversation))
        except CannotAnswerError as error:
            return f"Sorry, I cannot answer that now ({error})."
        return said

    async def _answer(self, text: str, known: dict[str, Any]) -> str:
        words = text.casefold()
        if named := re.search(r"my name is\s+(.+?)\W*$", text, re.IGNORECASE):
            return await self._remember_name(named[1], known)
        if "my name" in words:
            return f"Your name is {known['name']}." if "name" in known else "You have not told me yet."
        if "visit" in words:
            return await self._next_visit()
        if "cost" in words or "price" in words:
            return await self._price(words)
        return f"Hello{', ' + known['name'] if 'name' in known else ''}! Ask me for your next visit, or for a price."

    async def _remember_name(self, name: str, known: dict[str, Any]) -> str:
        known["name"] = name
        client = _of(await self._data.get_client_by_phone(self._phone, COMPANY))
        if client:
            row = {"yclients_id": client.yclients_id, "company_id": COMPANY, "phone": self._phone, "name": name}
            _of(await self._data.upsert_client(row))
        return f"Nice to meet you, {name}."

    async def _next_visit(self) -> str:
        client = _of(await self._data.get_client_by_phone(self._phone, COMPANY))
        visits = _of(await self._data.get_upcoming_appointments(client.yclients_id, COMPANY)) if client else []
        if not visits:
            return "You have no visit to come."
        visit = visits[0]
        return f"On {visit.datetime:%d %B at %H:%M}: {', '.join(visit.services or [])}, with {visit.staff_name}."

    async def _price(self, words: str) -> str:
        asked = next((title for word, title in SERVICES.items() if word in words), None)
        services = _of(await self._data.get_services(COMPANY))
        found = [s for s in services if s.price_min is not None and (asked is None or asked in s.title.casefold())]
        if not found:
            return "We do not offer that."
        return "; ".join(f"{service.title}: from {service.price_min} RUB" for service in found[:3]) + "."


def _of(answer: Result[Any]) -> Any:
    if not answer.success:
        raise CannotAnswerError(answer.error_code)
    return answer.data


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str | None]) -> None:
    # Unbuffered: a buffer that a thread waits in cannot be closed at the end of the program.
    with open(0, "rb", buffering=0, closefd=False) as console:
        while line := console.readline():
            loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace").strip())
    loop.call_soon_threadsafe(lines.put_nowait, None)


async def chat(phone: str) -> None:
    """Answer line by line until the console or the process ends; the answer that is under way is finished first."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def end() -> None:
        while not lines.empty():
            lines.get_nowait()
        lines.put_nowait(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    async with open_data_layer() as data:
        bot = Bot(data, phone)
        Thread(target=_read_lines, args=(loop, lines), daemon=True).start()
        while (line := await lines.get()) is not None:
            if line:
                print(await bot.answer(line), flush=True)
    print("Goodbye.", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    try:
        asyncio.run(chat(sys.argv[1] if len(sys.argv) > 1 else PHONE))
    except SettingsError as error:
        sys.exit(str(error))
