"""The cluster that tests are run on does what its methods say."""

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
