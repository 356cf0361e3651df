"""An event, and the document that is sent of it: masked, so that it may be read by whoever gets it."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.privacy import mask_free_text
from app.settings import Settings
from app.stores.postgres.database_url import shown_url

_LONGEST = 1000  # characters of one text
_MOST = 50  # members of one list
_USER = re.compile(r'(?<=\buser )"[^"]*"')  # in what a server says of a login
# Slack's own signs (its documentation, "Formatting text for app surfaces"): a name must not call everybody.
_FOR_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        kind: such as "step_done"; docs/notifications.md has all of them.
        summary: a sentence.
        facts: the same for programs: texts, numbers, and lists and objects of these.
        source: the source's label.
        next: what to do next.
        cause: what it is told of once, where several processes may find it; None: it is told each time.
    """

    kind: str
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    next: str | None = None
    cause: str | None = None


def document_of(event: Event, settings: Settings) -> dict[str, Any]:
    """What is sent of an event: an id of its own, and no phone number and no secret of the settings."""
    mask = _Mask(settings)
    target = shown_url(settings.database_url.get_secret_value()) if settings.database_url else None
    summary = mask.text(event.summary)
    next_step = mask.text(event.next) if event.next else None
    told = (f"{target}: " if target else "") + summary + (f" Next: {next_step}" if next_step else "")
    return {
        "id": str(uuid.uuid4()),
        "event": event.kind,
        "happened_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "target": target,
        "source": event.source,
        "summary": summary,
        "text": told.translate(_FOR_SLACK),
        "facts": mask.anything(dict(event.facts)),
        "next": next_step,
    }


class _Mask:
    """Takes phone numbers and the secrets of the settings out of texts, and what is not for printing."""

    def __init__(self, settings: Settings) -> None:
        self._secrets = settings.secrets()

    def text(self, text: str) -> str:
        text = mask_free_text(_USER.sub("***", " ".join(text.split())), self._secrets)
        text = "".join(character if character.isprintable() else "?" for character in text)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

    def anything(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.anything(below) for name, below in value.items()}
        if isinstance(value, list | tuple):
            return [self.anything(below) for below in value[:_MOST]]
        return value
