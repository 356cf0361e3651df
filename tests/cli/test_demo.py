"""The demo, as a newcomer runs it, on a machine without settings."""

import os
import re
import subprocess
import sys
from pathlib import Path

from app.settings import Settings


def test_demo_moves_a_salon_of_production_size_and_says_so(tmp_path: Path) -> None:
    botdata = Path(sys.executable).with_name("botdata")
    done = subprocess.run(
        [botdata, "demo"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    copied = dict(re.findall(r"^(\w+) +[\d,]+ +([\d,]+) +0 +0 +0 ", done.stdout, re.MULTILINE))
    assert copied == {
        "actions": "0",
        "bookings": "45",
        "clients": "1,304",
        "companies": "1",
        "company_sync_status": "0",
        "dialog_contexts": "21",
        "messages": "0",
        "services": "63",
        "staff": "12",
        "staff_schedules": "44",
        "whatsapp_auth": "1",
        "whatsapp_keys": "1,127",
    }
    assert "verified: 2,618 rows, no difference" in done.stdout
    assert "methods: 21 of 21 compared, all equal" in done.stdout
    assert "USE_REPOSITORY_PATTERN=true   PostgreSQL answers now" in done.stdout
    assert "botdata migrate" in done.stdout
    page = tmp_path / "botdata-demo-report.html"
    assert f"report: {page}" in done.stdout
    assert page.read_text(encoding="utf-8").count("equal</span>") == 12
    assert list(tmp_path.iterdir()) == [page]
