"""What the commands tell: each notification reaches a server, also after it was away."""

import pytest

from tests.cli.command import Command
from tests.migration.engine import add_clients, execute
from tests.notify.receiver import Receiver
from tests.support.page_server import PageServer


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str, receiver: Receiver) -> dict[str, str]:
    add_clients(source_database, 5)
    return {
        "SUPABASE_URL": pages.url,
        "SUPABASE_KEY": pages.service_key,
        "DATABASE_URL": database_url,
        "NOTIFY_URL": receiver.url,
    }


def test_the_steps_of_a_move(command: Command, settings: dict[str, str], receiver: Receiver) -> None:
    assert command("copy", "--tables", "clients", **settings).code == 0
    execute(settings["DATABASE_URL"], "UPDATE clients SET name = 'x' WHERE id = 3")
    assert command("verify", "--tables", "clients", **settings).code == 1
    assert command("sync", "--tables", "clients", **settings).code == 0
    assert receiver.kinds == [
        "step_begun", "step_done", "step_begun", "differences_found", "step_done", "step_begun", "step_done",
    ]  # fmt: skip
