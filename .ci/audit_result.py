"""What pip-audit found: exit code 0 for nothing, 1 for vulnerabilities, 75 where it wrote no report."""

import json
import sys
from pathlib import Path

_NOT_DONE = 75

try:
    dependencies = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["dependencies"]
except (OSError, ValueError, KeyError):
    sys.exit(_NOT_DONE)
if not dependencies or all("skip_reason" in one for one in dependencies):
    sys.exit(_NOT_DONE)
found = [(one["name"], one["version"], bug) for one in dependencies for bug in one.get("vulns", [])]
for name, version, bug in found:
    fixed = ", ".join(bug["fix_versions"]) or "no version yet"
    sys.stdout.write(f"{name} {version}: {bug['id']} ({', '.join(bug['aliases'])}); mended in {fixed}\n")
sys.stdout.write(f"{len(dependencies)} dependencies looked up, {len(found)} vulnerabilities known\n")
sys.exit(1 if found else 0)
