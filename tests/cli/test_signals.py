"""Signals that come in the middle of a command's event loop, at its end, and to one that runs in the background."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import start

_SIGNALLED_AT_ITS_END = """
import atexit, os, signal, sys
from app.cli.main import run
number = getattr(signal, sys.argv.pop())
atexit.register(lambda: os.kill(os.getpid(), number))
sys.argv.append("--version")
run()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_exit_code_is_that_of_the_work(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED_AT_ITS_END, name],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("botdata ")


_SIGNALLED_IN_ITS_LOOP = """
import asyncio, os, signal, sys, threading, time
from app.cli import command_tree
from app.cli.running import run_async
from app.cli.main import run

def end():
    os.kill(os.getpid(), signal.SIGTERM)

{work}

command_tree.cli = lambda: (run_async(work()), print("went on"))
signal.signal(signal.SIGINT, signal.SIG_IGN)
run()
"""
# A task's wake-up has been taken from the loop's queue and is not carried out yet.
_AS_A_TASK_IS_WOKEN = """
def at_its_handle(frame, event, argument):
    if event == "call" and frame.f_code is asyncio.Handle._run.__code__:
        sys.setprofile(None)
        end()

async def work():
    loop = asyncio.get_running_loop()
    woken = loop.create_future()
    async def wait():
        await woken
        await loop.create_future()
    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    woken.set_result(None)
    sys.setprofile(at_its_handle)
    await waiting
"""
# The signal does not end the call in which the loop waits.
_IN_ANOTHER_THREAD = """
def end_as_it_waits(loop):
    while sys._current_frames()[loop].f_code.co_name != "select":
        time.sleep(0.01)
    end()

async def work():
    threading.Thread(target=end_as_it_waits, args=[threading.get_ident()]).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    await asyncio.get_running_loop().create_future()
"""
_AS_THE_LOOP_HAS_CLOSED = """
async def work():
    loop = asyncio.get_running_loop()
    close = loop.close
    loop.close = lambda: (close(), end())
"""


@pytest.mark.parametrize("work", [_AS_A_TASK_IS_WOKEN, _IN_ANOTHER_THREAD, _AS_THE_LOOP_HAS_CLOSED])
def test_sigterm_ends_a_command_wherever_its_event_loop_is(tmp_path: Path, work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED_IN_ITS_LOOP.format(work=work)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nStopped.\n")


def test_a_command_in_the_background_of_a_script_is_ended_by_sigterm_alone(tmp_path: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell without job control does for `command &`
        try:
            process = start(
                "preflight", directory=tmp_path, DATABASE_URL=database_url,
                SUPABASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}", SUPABASE_KEY="a-key",
            )  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, before)
        with process:
            try:
                with silent.accept()[0]:  # it waits for an answer
                    process.send_signal(signal.SIGINT)
                    with pytest.raises(subprocess.TimeoutExpired):
                        process.wait(timeout=1)
                    process.terminate()
                    _, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 130
    assert err.endswith("\nStopped.\n")
    assert "Traceback" not in err
