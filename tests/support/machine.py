"""How busy the machine is, for the few tests that have to hold the time of something."""

import os


def times_as_long() -> float:
    """How many times as long as on a machine with nothing else to do something may take now."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
