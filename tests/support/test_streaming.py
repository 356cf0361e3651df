"""The cluster that tests are run on does what its methods say."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.streaming import run_cluster


def test_a_standby_follows_is_delayed_and_becomes_the_primary() -> None:
    with run_cluster(standbys=2) as cluster:
        first, second = cluster.standbys
        cluster.primary.execute("CREATE TABLE seen (number int)")
        cluster.be_synchronous("standby1", "standby2")
        cluster.primary.execute("INSERT INTO seen VALUES (1)")
        cluster.wait_for_standbys()
        assert [node.execute("SELECT number FROM seen") for node in (first, second)] == [[(1,)]] * 2
        first.configure(recovery_min_apply_delay="1h")
        cluster.primary.execute("INSERT INTO seen VALUES (2)")
        assert first.execute("SELECT count(*) FROM seen") == [(1,)]
        first.configure(recovery_min_apply_delay="")
        cluster.wait_for_standbys()

        cluster.primary.hang()
        with pytest.raises(psycopg.OperationalError):
            cluster.primary.execute("SELECT 1")
        cluster.primary.kill()
        old = cluster.promote(first)
        first.execute("INSERT INTO seen VALUES (3)")
        assert first.execute("SELECT timeline_id FROM pg_control_checkpoint()") in ([(1,)], [(2,)])
        old.start()
        assert old.execute("SELECT count(*) FROM seen") == [(2,)]
        again = cluster.add_standby("standby3", replaces=old)
        cluster.standbys.remove(second)
        second.stop()
        cluster.wait_for_standbys()
        assert again.port == old.port
        assert again.execute("SELECT count(*) FROM seen") == [(3,)]


_HANGS = """
from tests.support.streaming import run_cluster
with run_cluster(standbys=0) as cluster:
    cluster.primary.hang()
    print(cluster.primary.data, flush=True)
    input()
"""


def test_nothing_outlives_a_process_that_is_killed() -> None:
    command = [sys.executable, "-c", _HANGS]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    with process:
        assert process.stdout is not None
        data = Path(process.stdout.readline().decode().strip())
        server = int((data / "postmaster.pid").read_text().split()[0])
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while data.exists() or Path(f"/proc/{server}").exists():
        assert time.monotonic() < deadline, os.listdir(data.parent)
        time.sleep(0.05)
