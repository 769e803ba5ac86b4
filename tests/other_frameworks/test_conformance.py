"""``conformance`` on a server that is no Flask application: Django's ``condition``, as documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from torture.servers import serving

FAULTS = {
    "13.1.1 a write by an empty list is refused": "200, and it was written",
    "13.1.1 a write by a tag without quotes is not done": "200, and it was written",
    "13.1.1 a write by a tag that does not end is not done": "200, and it was written",
    "5.6.1 a write by two tags without a comma is not done": "200, and it was written",
    "8.8.3 a write by w/ in small letters is not done": "200, and it was written",
    "13.2.1 OPTIONS ignores conditions": "412",
}


def test_it_finds_what_django_does_otherwise(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'counters.db'}"
    with serving("torture.peers:create_app()", database=database, peer="Django") as server:
        ran = subprocess.run(
            [sys.executable, "-m", "flask_etag.testing", server.url, "--body", '{"number": 5}'],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.stderr == ""
    assert ran.returncode == 1
    assert dict(re.findall(r"^FAILED: (.*?): .* -> (.*)$", ran.stdout, re.MULTILINE)) == FAULTS
