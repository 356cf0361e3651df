"""Keys of rows as one parameter: a JSON array of arrays."""

import json
from collections.abc import Iterable

from app.common.keys import Key

# A condition: the key of one of the tool's own rows is among those of the parameter `keys`, see `keys_json`.
AMONG_KEYS = "key IN (SELECT ARRAY(SELECT json_array_elements_text(k)) FROM json_array_elements(%(keys)s::json) k)"


def keys_json(keys: Iterable[Key]) -> str:
    """Keys as a parameter."""
    return json.dumps([list(key) for key in keys])
