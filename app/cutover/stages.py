"""The stages of a cutover, and what each says of reads and writes."""

from __future__ import annotations

from enum import StrEnum


class Store(StrEnum):
    """One of the two stores."""

    SUPABASE = "supabase"
    POSTGRES = "postgres"

    @property
    def other(self) -> Store:
        """The other one."""
        return Store.POSTGRES if self is Store.SUPABASE else Store.SUPABASE

    @property
    def label(self) -> str:
        """The name that people know it by."""
        return "Supabase" if self is Store.SUPABASE else "PostgreSQL"


class Stage(StrEnum):
    """Where the cutover stands; in this order, and moved by one step at a time."""

    OFF = "off"
    DUALWRITE = "dualwrite"
    SHADOW = "shadow"
    LIVE = "live"
    RAMPDOWN = "rampdown"
    COMPLETE = "complete"

    @property
    def authority(self) -> Store:
        """The store that is written first, and that answers."""
        return Store.SUPABASE if self in {Stage.OFF, Stage.DUALWRITE, Stage.SHADOW} else Store.POSTGRES

    @property
    def mirrors(self) -> bool:
        """Whether a write is brought to the other store at once."""
        return self in {Stage.DUALWRITE, Stage.SHADOW, Stage.LIVE, Stage.RAMPDOWN}

    @property
    def records(self) -> bool:
        """Whether a write to PostgreSQL leaves an entry in the outbox."""
        return self.authority is Store.POSTGRES

    @property
    def compares(self) -> bool:
        """Whether answers are compared with the other store's."""
        return self in {Stage.SHADOW, Stage.LIVE}

    @property
    def next(self) -> Stage | None:
        """One step on."""
        return _ORDER[position + 1] if (position := _ORDER.index(self)) + 1 < len(_ORDER) else None

    @property
    def previous(self) -> Stage | None:
        """One step back."""
        return _ORDER[position - 1] if (position := _ORDER.index(self)) else None


_ORDER = tuple(Stage)
