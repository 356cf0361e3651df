"""Fixtures of the data layer's own tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.settings import Settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings_with() -> MakeSettings:
    """Settings from keywords alone, for PostgreSQL unless they say otherwise."""

    def make(**given: Any) -> Settings:
        return Settings(_env_file=None, **{"use_repository_pattern": True, **given})

    return make
