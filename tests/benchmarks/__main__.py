"""Run benchmarks and print their figures."""

import argparse
import sys

from tests.benchmarks import components, dask_steps, engine_costs, plan_scale, start_up  # noqa: F401 - registers them
from tests.benchmarks.registry import BENCHMARKS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--list", action="store_true", help="the names")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(BENCHMARKS))
        return 0
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    for name in arguments.names or BENCHMARKS:
        for result in BENCHMARKS[name]():
            print(result.json() if arguments.json else result.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
