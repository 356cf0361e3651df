"""Another project's models described in this process: half a second less for a command than in one of its own."""

import sys
from pathlib import Path
from typing import Any

from app.migration.tables.models_description import describe_models


def described_here(name: str) -> dict[str, Any]:
    """What `app.migration.tables.metadata` asks a process for."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return describe_models(name)
