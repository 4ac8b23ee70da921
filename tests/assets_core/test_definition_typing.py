"""The public API as a type checker sees it.

The programs say themselves, in comments that must all be needed, which of their lines are wrong.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_users_programs_are_typed_as_they_expect() -> None:
    """All programs at once and with the project's own settings, so that `make types` has done most of the work."""
    programs = sorted(map(str, (ROOT / "tests" / "typing").glob("[!_]*.py")))
    assert len(programs) >= 2
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", *programs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
