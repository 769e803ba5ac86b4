"""Take the picture of the README: ``make screenshot``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.browser.chromium import take_screenshot

take_screenshot(Path(sys.argv[1]))
