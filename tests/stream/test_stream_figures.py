"""Lag, log and place of a change stream, wherever they are shown: status, watch, its figures, and the report."""

import asyncio
import io
import json
from pathlib import Path

from rich.console import Console

from app.cli.commands.watch.command import watch_document
from app.cli.commands.watch.terminal import rendered
from app.settings import Settings
from app.watch.metrics import metrics_text
from app.watch.watcher import Watcher
from tests.cli.command import Command
from tests.cli.test_json import check_document
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, tables, value

_CHOSEN = ("--tables", "clients")


async def _followed(salon: StreamEnds) -> None:
    """Five changes come by the stream, and the sync looks at its slot."""
    stream = salon.stream(tables("clients"))
    await stream.begun()
    execute(salon.source, "UPDATE clients SET notes = 'x' WHERE id < 6")
    await stream.caught_up()
    seen = "SELECT count(*) FROM botdata.streams WHERE weighed_at > applied_at AND changes > 0"
    assert await stream.until(lambda: value(salon.target, seen) == 1)
    await stream.end()


def test_a_stream_shows_its_figures_with_their_age(salon: StreamEnds, command: Command, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": salon.target}
    watcher = Watcher(Settings(_env_file=None, database_url=salon.target))  # type: ignore[call-arg]
    asyncio.run(_followed(salon))
    execute(salon.target, "UPDATE botdata.streams SET weighed_at = weighed_at - interval '3 min', lag = 1.5")

    (shown,) = check_document(command("status", "--json", **settings).out, "status")["streams"]
    assert (shown["changes"], shown["lag"], shown["held_bytes"] > 0) == (5, 1.5, True)
    assert 180 <= shown["look_age"] < 240
    words = "the sync that follows it last looked 3 min ago; lag 1.5 s; the source keeps "
    assert words in command("status", **settings).out

    facts = asyncio.run(watcher.once())
    document = watch_document(facts)
    assert document["status"]["streams"][0]["held_bytes"] == shown["held_bytes"]
    written = io.StringIO()
    Console(width=300, file=written).print(rendered(document))
    assert words in written.getvalue()
    figures = metrics_text(facts, str)
    label = f'{{stream="{shown["name"]}"}}'
    assert f"botdata_stream_lag_seconds{label} 1.5" in figures
    assert f"botdata_stream_held_bytes{label} {shown['held_bytes']}" in figures
    assert f"botdata_stream_changes_total{label} 5" in figures

    assert command("report", "--kept", *_CHOSEN, "--language", "en", "--output", "r.html", **settings).code == 0
    page = (tmp_path / "r.html").read_text()
    assert f"Change stream {shown['name']}: 5 changes" in page
    assert "Lag of the last batch:" in page
    execute(salon.target, "DELETE FROM botdata.streams")
    assert "change stream" not in command("status", **settings).out
    assert "botdata_stream" not in metrics_text(asyncio.run(watcher.once()), str)
    assert json.loads(command("status", "--json", **settings).out)["streams"] == []
