"""Known vulnerabilities of what the image installs, where the package index tells of them: `python tools/audit.py`.

Many indexes are mirrors that have packages and no more. Then nothing is looked up, and a sentence says so.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements-server.lock"
PROBED = "starlette"
"""A package of the lock that is asked for first."""


def tells_of_vulnerabilities() -> bool:
    version = re.search(rf"^{PROBED}==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert version
    try:
        with urllib.request.urlopen(f"https://pypi.org/pypi/{PROBED}/{version[1]}/json", timeout=5) as answer:
            return "vulnerabilities" in json.load(answer)
    except (OSError, ValueError):
        return False


def main() -> None:
    if not tells_of_vulnerabilities():
        print("not looked up: https://pypi.org tells of none here")
        return
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    done = subprocess.run([*command, "--format", "json", "-r", str(LOCK)], check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        sys.exit(done.stderr or "pip-audit said nothing")
    known = [package for package in packages if "vulns" in package]
    found = [f"{one['name']} {one['version']}: {vuln['id']}" for one in known for vuln in one["vulns"]]
    print(f"{len(known)} of {len(packages)} packages looked up, {len(found)} vulnerabilities", *found, sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
