"""The command `botdata notify`."""

from typing import Annotated

import typer

from app.cli.options import AsJson
from app.cli.render import document, show
from app.cli.running import load_settings, run_async
from app.errors import SettingsError


def notify(
    test: Annotated[bool, typer.Option("--test", help="Send a test, which needs no database.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send what waits for NOTIFY_URL and NOTIFY_COMMAND, now. Exit code 1 when something did not get through.

    Example: botdata notify --test
    """
    from app.notify.channels import channels_of
    from app.notify.delivery import send_waiting, try_channels

    settings = load_settings()
    if not channels_of(settings):
        raise SettingsError("neither NOTIFY_URL nor NOTIFY_COMMAND is set, so nobody is told (docs/notifications.md)")
    if test:
        answers = run_async(try_channels(settings))
        ok = all(answer.ok for answer in answers.values())
        told = [{"channel": name, "ok": answer.ok, "answer": answer.code} for name, answer in answers.items()]
        found = document("notify", ok=ok, test=True, channels=told, delivered=None, waiting=None, given_up=None)
        words = [
            f"NOTIFY_{name.upper()}: {'took the test' if answer.ok else 'did NOT take the test'} ({answer.code})"
            for name, answer in answers.items()
        ]
    else:
        delivered, left = run_async(send_waiting(settings))
        ok = not (left.waiting or left.given_up)
        counts = {"delivered": delivered, "waiting": left.waiting, "given_up": left.given_up}
        found = document("notify", ok=ok, test=False, channels=[], **counts)
        why = f"; last error: {left.last_error}" if left.last_error else ""
        words = [f"{delivered:,} sent, {left.waiting:,} still wait, {left.given_up:,} given up{why}"]
    show(found, words, as_json, beside=True)
