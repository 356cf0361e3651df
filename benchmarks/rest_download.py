"""Only downloads: the pages that a copy over REST asks for, one after the other, and nothing done with them.

    python -m benchmarks.rest_download TABLE SELECT LIMIT     with SUPABASE_URL and SUPABASE_KEY; its key column is `id`

Prints how many bytes came. It imports what it needs for that and no more.
"""

from __future__ import annotations

import json
import os
import sys

import httpx


def download(table: str, select: str, limit: str) -> int:
    """All pages by primary key, discarded; returns their bytes."""
    key = os.environ["SUPABASE_KEY"]
    url = f"{os.environ['SUPABASE_URL']}/rest/v1/{table}"
    size = 0
    parameters = {"select": select, "limit": limit, "order": "id"}
    with httpx.Client(headers={"apikey": key, "Authorization": f"Bearer {key}"}, timeout=60) as client:
        while True:
            body = client.get(url, params=parameters).raise_for_status().content
            size += len(body)
            begin = body.rfind(b'{"_0":"')
            if begin < 0:
                return size
            parameters["id"] = f"gt.{json.loads(body[begin:].rstrip()[:-1])['_0']}"


if __name__ == "__main__":
    print(download(*sys.argv[1:]))
