"""USE_REPOSITORY_PATTERN, CUTOVER_STAGE and their companions: which store answers the bot."""

from __future__ import annotations

from dataclasses import dataclass

from app.cutover.stages import Stage, Store
from app.errors import SettingsError

FOLLOW = "database"
STAGE_CHOICES = (*(stage.value for stage in Stage), FOLLOW)


@dataclass(frozen=True, slots=True)
class Flags:
    """The switches, already checked against each other.

    Attributes:
        stage: where the cutover stands as the environment fixes it; None: the row in the target is followed.
        chosen_by: the setting that says so, such as "CUTOVER_STAGE=database".
        use_legacy_supabase: false means that no Supabase connection is ever opened.
        log_database_calls: log each call of the data layer with its time.
        notice: what the owner should know of settings that are ignored.
    """

    stage: Stage | None = Stage.OFF
    chosen_by: str = "USE_REPOSITORY_PATTERN=false"
    use_legacy_supabase: bool = True
    log_database_calls: bool = False
    notice: str | None = None

    @property
    def use_repository_pattern(self) -> bool:
        """Whether the environment says that PostgreSQL is the bot's store."""
        return self.stage is not None and self.stage.authority is Store.POSTGRES

    @property
    def names_a_stage(self) -> bool:
        """Whether CUTOVER_STAGE is set, and not USE_REPOSITORY_PATTERN alone."""
        return self.chosen_by.startswith("CUTOVER_STAGE=")

    @classmethod
    def of(
        cls,
        *,
        use_repository_pattern: bool | None,
        cutover_stage: str | None,
        use_legacy_supabase: bool,
        log_database_calls: bool,
    ) -> Flags:
        """Check and freeze.

        Args:
            use_repository_pattern: None where it is not set, which means false.
            cutover_stage: one of STAGE_CHOICES; None where it is not set.

        Raises:
            SettingsError: the two disagree, or no backend would be left.
        """
        notice = None
        if cutover_stage == FOLLOW:
            stage, chosen_by = None, f"CUTOVER_STAGE={FOLLOW}"
            if use_repository_pattern is not None:
                notice = "USE_REPOSITORY_PATTERN is ignored, since CUTOVER_STAGE=database follows the target's row"
        elif cutover_stage is not None:
            stage, chosen_by = Stage(cutover_stage), f"CUTOVER_STAGE={cutover_stage}"
            if use_repository_pattern not in {None, stage.authority is Store.POSTGRES}:
                raise SettingsError(
                    f"CUTOVER_STAGE={stage} has {stage.authority.label} for authority, and USE_REPOSITORY_PATTERN="
                    f"{str(use_repository_pattern).lower()} says otherwise; unset one of them"
                )
        else:
            stage = Stage.COMPLETE if use_repository_pattern else Stage.OFF
            chosen_by = f"USE_REPOSITORY_PATTERN={'true' if use_repository_pattern else 'false'}"
        if not use_legacy_supabase and stage is not Stage.COMPLETE:
            if cutover_stage is None:
                raise SettingsError(
                    "USE_LEGACY_SUPABASE is false and USE_REPOSITORY_PATTERN is not true: no backend is left; "
                    "set USE_REPOSITORY_PATTERN=true"
                )
            raise SettingsError(
                f"USE_LEGACY_SUPABASE is false and {chosen_by} may need Supabase; "
                "unset USE_LEGACY_SUPABASE, or set CUTOVER_STAGE=complete"
            )
        return cls(stage, chosen_by, use_legacy_supabase, log_database_calls, notice)
