"""One command's source and target: what is to be so after it was ended, and at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from tests.chaos import databases
from tests.chaos.command import Botdata
from tests.chaos.databases import Rows
from tests.chaos.process_kinds import COPY, REPLACE, Kind
from tests.schema import phase08

if TYPE_CHECKING:
    from tests.chaos.process_stage import Stage


@dataclass(frozen=True)
class Place:
    """One command's source and target.

    Attributes:
        name: of the target's database.
        catalog: the target's objects before it.
    """

    stage: Stage
    kind: Kind
    botdata: Botdata
    source: str
    name: str
    catalog: list[tuple[str, str, str]]

    @property
    def target(self) -> str:
        """The URL of the target's database, wherever its server is now."""
        return self.stage.server.url(self.name)

    @property
    def slow_botdata(self) -> Botdata:
        """The command for a run that is disturbed."""
        address = self.stage.slow_address(self.name)
        return replace(self.botdata, settings={**self.botdata.settings, "DATABASE_URL": address})

    @property
    def words(self) -> list[str]:
        """The command's."""
        return self.kind.words.split()

    def between(self) -> list[str]:
        """What is wrong after it was ended, before it is run again."""
        if not databases.wait_for_end(self.target):
            return ["the server still has its sessions"]
        if self.kind.words == REPLACE:
            return self._replaced_or_not()
        if self.kind.words == COPY:
            strange = databases.difference(self._expected, databases.texts(self.target)).extra
            wrong = [f"rows that the source does not have: {dict(strange)}"] if strange else []
            return wrong + databases.miscounted(self.target)
        return []

    def after(self) -> tuple[int, list[str]]:
        """Rows lost, and what else is wrong, after it has ended well."""
        wrong = databases.left_behind(self.target)
        if self.kind.words == REPLACE:
            return 0, wrong + self._replaced_or_not() + self._session_touched()
        if "--reverse" in self.kind.words:
            # Over REST they cannot be raised, which the command says.
            wrong += databases.left_behind(self.source, sequences=self.kind.over != "REST")
        if databases.catalog(self.target) != self.catalog:
            wrong.append("the target's objects are not those that were there before")
        found = databases.difference(self._expected, self._found())
        kept = [("clients", key) for key in self._refused]
        if (quarantined := databases.quarantined(self.target)) != sorted(kept):
            wrong.append(f"{len(quarantined)} rows in quarantine, not the {len(kept)} refused")
        if self.kind.words == COPY:
            wrong += databases.miscounted(self.target)
        return found.missing.total(), wrong + ([f"rows: {found}"] if found else [])

    @property
    def _refused(self) -> list[str]:
        """Keys of the clients that the target does not take."""
        return [] if self.kind.template in {"mended", "ahead"} else sorted(self.stage.refused)

    @property
    def _expected(self) -> Rows:
        """What the side that is written to is to hold, but for rows that are refused."""
        if self.kind.template == "mended":
            return self.stage.before
        if self.kind.template == "ahead":
            return databases.texts(self.target)
        return databases.without(self.stage.rows, self.stage.refused)

    def _found(self) -> Rows:
        rows = databases.texts(self.source if "--reverse" in self.kind.words else self.target)
        # A row that was taken once and is refused now stays as it was.
        return databases.without(rows, set(self._refused))

    def _replaced_or_not(self) -> list[str]:
        """Either the old schema with all its rows, or the new one, and the backup that says it is complete."""
        with psycopg.connect(self.target) as connection:
            new = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone() == (True,)
        if not new:
            same = phase08.texts(self.target, *phase08.TABLES) == self.stage.phase08
            return [] if same else ["the old schema is there, and not all of its rows"]
        wrong = []
        objects, head = set(databases.catalog(self.target)), set(self.stage.migrated_catalog)
        if head - objects or objects - head - set(self.catalog):  # an index of the session tables may stay
            wrong.append("the new schema is not that of a database at head")
        rows = sum(len(rows) for table, rows in self.stage.phase08.items() if table != "messages")  # its partitions'
        backups = [path.parent for path in self.botdata.directory.glob("botdata-backup-*/README.md")]
        if not any(sum(path.read_bytes().count(b"\n") for path in b.glob("*.copy")) == rows for b in backups):
            wrong.append(f"no backup is complete, of {len(backups)} that say they are")
        return wrong

    def _session_touched(self) -> list[str]:
        before, after = (phase08.untouched(url) for url in (self.stage.server.url("phase08"), self.target))
        return [] if before == after else ["the WhatsApp session was touched"]
