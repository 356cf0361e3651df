"""The machine under a benchmark, in a few words."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processors, memory, system and Python, e.g. "2 x AMD EPYC, 24 GB, Linux 6.1, Python 3.11.7"."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{os.cpu_count()} x {processor}, {memory:.0f} GB, {system}, Python {platform.python_version()}"
