"""USE_REPOSITORY_PATTERN and its companions: which backend answers the bot."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Flags:
    """The switches, already checked against each other.

    Attributes:
        use_repository_pattern: PostgreSQL answers the bot; Supabase when false.
        use_legacy_supabase: false means that no Supabase connection is ever opened.
        log_database_calls: log each call of the data layer with its time.
    """

    use_repository_pattern: bool = False
    use_legacy_supabase: bool = True
    log_database_calls: bool = False

    @classmethod
    def of(cls, *, use_repository_pattern: bool, use_legacy_supabase: bool, log_database_calls: bool) -> Flags:
        """Check and freeze; SettingsError when no backend would be left."""
        if not use_repository_pattern and not use_legacy_supabase:
            raise SettingsError(
                "USE_LEGACY_SUPABASE is false and USE_REPOSITORY_PATTERN is not true: no backend is left; "
                "set USE_REPOSITORY_PATTERN=true"
            )
        return cls(use_repository_pattern, use_legacy_supabase, log_database_calls)
