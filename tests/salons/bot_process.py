"""A bot of several salons over one pool: the work of `tests.cutover.bot_process` in each, written down for each.

    python -m tests.salons.bot_process LOG PROCESS

SALONS is a JSON object: by schema, the settings of the salon. LOG is the first one's, the others' is LOG.SCHEMA.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from time import monotonic

from app.data_layer import open_data_layers
from tests.cutover.bot_process import Log, work


async def main(path: str, process: int) -> None:
    """Work until SIGTERM, and close."""
    own = json.loads(os.environ["SALONS"])
    first, *_ = own
    logs = {schema: Log(path if schema == first else f"{path}.{schema}") for schema in own}
    async with open_data_layers(own) as salons:
        await salons.open(*own)
        await work([(salons[schema], log) for schema, log in logs.items()], process)
    for log in logs.values():
        log("closed", monotonic())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
