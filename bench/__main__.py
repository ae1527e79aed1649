"""`python -m bench`: every promise about speed, memory and quality, measured side by side in one run.

See docs/benchmarks.md. Exit code 0 when every target is met, 1 when one is missed, 2 when the bench could not run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path

import django

from bench.report import Report, say


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--leads", type=int, default=100_000, help="leads of the main world (default 100000)")
    parser.add_argument("--small", type=int, default=10_000, help="leads of the small world (default 10000)")
    parser.add_argument("--big", type=int, default=300_000, help="leads of the big world (default 300000)")
    parser.add_argument("--load", type=int, default=1_000_000, help="drivers of the load file (default 1000000)")
    parser.add_argument("--repetitions", type=int, default=3, help="of what is measured by a median (default 3)")
    parser.add_argument("--seed", type=int, default=20, help="of the invented worlds (default 20)")
    parser.add_argument("--quick", action="store_true", help="a tenth of all sizes, once: to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.leads, options.small, options.big, options.load = (
            size // 10 for size in (options.leads, options.small, options.big, options.load)
        )
        options.repetitions = 1
    if not 100 <= options.small < options.big or options.leads < 100 or options.load < 1 or options.repetitions < 1:
        parser.error("sizes must be at least 100 leads, --big more than --small, and --repetitions at least 1")
    return options


def main() -> int:
    """Measure everything, print the table, say what was missed."""
    options = _options()
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    from bench import databases
    from bench.measurements import Bench

    report = Report()
    try:
        with tempfile.TemporaryDirectory(prefix="ct4-bench-") as folder, databases.own_databases():
            Bench(options, Path(folder), report).run()
    except databases.BenchRunning:
        say("another bench is at work on this server; wait for it")
        return 2
    except Exception:
        traceback.print_exc()
        return 2
    print("\n".join(report.lines()))
    if report.missed:
        say(f"missed: {', '.join(report.missed)}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
