"""The tables to move, named on the command line: this project's models, or another's."""

import importlib
import sys
from pathlib import Path

from sqlalchemy import MetaData

from app.errors import SettingsError


def load_metadata(name: str | None) -> MetaData:
    """The MetaData of a declarative base, or one by itself.

    Args:
        name: "package.module:Base" or "package.module:metadata", found from the working directory too; None for the
            bot's own models.

    Raises:
        SettingsError: it cannot be imported, is no MetaData, or holds no table; says which.
    """
    if name is None:
        from app.models import Base

        return Base.metadata
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise SettingsError(f"--metadata is {name!r}; it should look like package.module:Base")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except AttributeError as error:
        raise SettingsError(f"--metadata: the module {module_name} has no {attribute}") from error
    except (Exception, SystemExit) as error:  # another project's code: whatever it does when it is imported
        said = f": {error}" if isinstance(error, ImportError) else ""  # other errors may quote settings
        raise SettingsError(f"--metadata: {module_name} cannot be imported: {type(error).__name__}{said}") from error
    metadata = found if isinstance(found, MetaData) else getattr(found, "metadata", None)
    if not isinstance(metadata, MetaData):
        raise SettingsError(f"--metadata: {name} is neither a declarative base nor a MetaData")
    if not metadata.tables:
        raise SettingsError(
            f"--metadata: {name} holds no table: name a module that imports the models, since a base knows only those "
            "that are imported"
        )
    return metadata
