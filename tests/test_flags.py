"""The switches between the two backends, checked against each other."""

from dataclasses import FrozenInstanceError

import pytest

from app.errors import SettingsError
from app.flags import Flags


@pytest.mark.parametrize(
    ("repository", "legacy"),
    [(False, True), (True, True), (True, False)],
)
def test_a_backend_is_left(repository: bool, legacy: bool) -> None:
    flags = Flags.of(use_repository_pattern=repository, use_legacy_supabase=legacy, log_database_calls=False)
    assert (flags.use_repository_pattern, flags.use_legacy_supabase) == (repository, legacy)


def test_no_backend_is_left() -> None:
    with pytest.raises(SettingsError, match="no backend is left; set USE_REPOSITORY_PATTERN=true"):
        Flags.of(use_repository_pattern=False, use_legacy_supabase=False, log_database_calls=True)


def test_supabase_answers_by_default() -> None:
    assert Flags() == Flags(use_repository_pattern=False, use_legacy_supabase=True, log_database_calls=False)


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Flags().use_repository_pattern = True  # type: ignore[misc]
