"""Moving the authority of a table that no method writes, when its writer has moved."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.cutover.locks import HOLD_TABLE
from app.cutover.moves.gates import copied_gate
from app.cutover.moves.gates.id_gap import raise_sequences, read_gaps
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.stage_row import UNCHANGED, changing, lock_stage_row, open_cutover
from app.cutover.stages import Stage, Store
from app.cutover.tables import METHODS_TABLES, OWN_AUTHORITY, READ_TABLES
from app.errors import MigrationError, SettingsError, StoreError
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.cutover.moves import record
from app.state.cutover.proofs import proof_of
from app.state.cutover.table_authority import read_authorities, set_authority

_STEP = "cutover table"
RECENT = 600.0  # seconds: a sync and a verify of a moved table are to be no older


@dataclass(frozen=True, slots=True)
class TableMoved:
    """What came of a move of a table's authority.

    Attributes:
        before: its authority before.
        moved: it is the new one now, and was not before.
        objections: the reasons against it, whether they stopped it or were passed over by force.
    """

    table: str
    before: Store
    to: Store
    moved: bool
    forced: bool
    dry_run: bool
    objections: tuple[Objection, ...]

    @property
    def ok(self) -> bool:
        """Whether the authority is, or with dry_run may be, where it should be."""
        return self.moved or self.before is self.to or (self.dry_run and not self.objections)


async def move_table(
    settings: Settings, table: str, to: Store, *, force: str | None = None, dry_run: bool = False
) -> TableMoved:
    """Say which store the table's writer writes to from now on.

    Raises:
        MigrationError: not a table with an authority of its own, or no command has moved the stage yet, or the target
            cannot be used.
    """
    _refuse_other(table)
    shared_ids = await _shared_ids(settings, table, dry_run=dry_run) if to is Store.POSTGRES else []
    async with changing(settings, _STEP) as connection:
        row = await lock_stage_row(connection, "FOR SHARE", step=_STEP)
        if row.moved_at is None and to is Store.POSTGRES:
            raise MigrationError(  # also with --force: a sync would put Supabase's rows over newer ones
                "no command has moved the stage yet, and until one has, sync and copy write every table from Supabase",
                step=_STEP,
                table=table,
                pending=UNCHANGED,
                next_step=NextStep(Command("cutover advance"), "; then: ", Command(_STEP)),
            )
        await connection.execute(HOLD_TABLE, {"table": table})  # no page of a sync is on its way into it
        before = (await read_authorities(connection, OWN_AUTHORITY))[table]
        objections: list[Objection] = []
        if before is not to:
            against = _against_postgres if to is Store.POSTGRES else _against_supabase
            objections = [*await against(connection, table, row.stage), *shared_ids]
        moves = before is not to and not dry_run and (force is not None or not objections)
        if moves:
            await set_authority(connection, table, to)
            said = "; ".join(one.what for one in objections) or None
            told = f"to {to}{f'; {said}' if said else ''}"
            await record(connection, "table", subject=table, reason=force, said=told)
        return TableMoved(table, before, to, moves, force is not None, dry_run, tuple(objections))


def _refuse_other(table: str) -> None:
    if table in OWN_AUTHORITY:
        return
    why = "is written by the data layer, and moves with the stage" if table in METHODS_TABLES else "is not known"
    raise MigrationError(
        f"table {table} {why}; those with an authority of their own are {', '.join(OWN_AUTHORITY)}",
        step=_STEP,
        table=table,
        pending=UNCHANGED,
        next_step=NextStep(Command("cutover status")),
    )


async def _shared_ids(settings: Settings, table: str, *, dry_run: bool) -> list[Objection]:
    """Raise the table's sequences past Supabase's ids; what stands against that."""
    try:
        if not dry_run:
            await raise_sequences(settings, step=_STEP)
        async with open_cutover(settings.require_database_url(), _STEP) as connection:
            gaps = await read_gaps(connection, settings)
    except (StoreError, SettingsError) as error:
        return [Objection(f"the highest ids of Supabase could not be read: {error}", "botdata preflight")]
    return [
        Objection(
            one.clash,
            f"a smaller CUTOVER_ID_GAP, then: botdata {_STEP} {table} postgres"
            if one.overflows(settings.cutover_id_gap)
            else f"botdata {_STEP} {table} postgres, which raises the sequence first",
        )
        for one in gaps
        if one.table == table and not one.is_safe(settings.cutover_id_gap)
    ]


async def _against_postgres(connection: AsyncConnection, table: str, stage: Stage) -> list[Objection]:
    sync = f"with its writer stopped: botdata sync --tables {table}"
    found = []
    if table in READ_TABLES and stage.authority is not Store.POSTGRES:
        found.append(
            Objection(
                f"the stage is {stage}, where the bot reads {table} from Supabase: it would not see what is written "
                "to PostgreSQL",
                "botdata cutover advance, up to live, first",
            )
        )
    found += await copied_gate.foreign_keys(connection, Store.SUPABASE)
    synced, refused, verified, differences = await proof_of(connection, table)
    if synced is None or synced > RECENT:
        when = "was never synced" if synced is None else f"was last synced {synced / 60:,.0f} minutes ago"
        found.append(Objection(f"{table} {when}, so PostgreSQL may lack rows", sync))
    if refused:
        found.append(Objection(f"{refused:,} rows of {table} are in quarantine", "botdata quarantine list"))
    return [*found, *_unverified(table, verified, differences, sync)]


async def _against_supabase(connection: AsyncConnection, table: str, _stage: Stage) -> list[Objection]:
    _, _, verified, differences = await proof_of(connection, table)
    return _unverified(
        table, verified, differences, f"with its writer stopped: botdata sync --reverse --tables {table}"
    )


def _unverified(table: str, age: float | None, differences: int | None, sync: str) -> list[Objection]:
    """What the last verify of the table leaves open."""
    remedy = f"{sync}; botdata verify --tables {table}"
    if age is None:
        return [Objection(f"{table} was never verified, so the two stores may differ", remedy)]
    if differences:
        return [Objection(f"the last verify of {table} found {differences:,} differences", remedy)]
    if age > RECENT:
        return [
            Objection(f"{table} was last verified {age / 60:,.0f} minutes ago, so the two stores may differ", remedy)
        ]
    return []
