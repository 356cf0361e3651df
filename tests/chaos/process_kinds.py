"""The commands that are ended at random moments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A command.

    Attributes:
        template: the database that its target is a copy of.
        code: its exit code when nothing disturbs it: 1 where rows are refused.
        over: "REST" or "connection"; "" for one that asks no source.
    """

    words: str
    template: str
    code: int
    over: str = ""

    @property
    def name(self) -> str:
        """As shown."""
        return f"{self.words} {f'({self.over})' if self.over else ''}".strip()


_FIRES = (
    "source-triggers-unseen",
    *(f"source-trigger:{one}.trigger_{one}_updated_at" for one in ("whatsapp_auth", "whatsapp_keys")),
)
COPY, SYNC = "copy --with-baileys", "sync --with-baileys"
REVERSE = " ".join(("sync --reverse --with-baileys", *(f"--accept {one}" for one in _FIRES)))
REPLACE, REPLAY = "schema replace --yes --pg-dump none", "quarantine replay"
KINDS = [
    Kind(COPY, "empty", 1, "REST"),
    Kind(COPY, "empty", 1, "connection"),
    Kind(SYNC, "moved", 1, "REST"),
    Kind(REVERSE, "ahead", 0, "REST"),
    Kind(REPLAY, "mended", 0),
    Kind(REPLACE, "phase08", 0),
    Kind(SYNC, "moved", 1, "connection"),
    Kind(REVERSE, "ahead", 0, "connection"),
    Kind("verify --with-baileys", "synced", 1, "REST"),
    Kind("verify --with-baileys", "synced", 1, "connection"),
    Kind("verify --fix --with-baileys", "spoilt", 1, "REST"),
    Kind("verify --fix --with-baileys", "spoilt", 1, "connection"),
]
