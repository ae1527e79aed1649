"""`python -m bench`: every promise about speed, memory and quality, measured side by side in one run.

See docs/benchmarks.md. Exit code 0 when every target is met, 1 when one is missed, 2 when the bench could not run.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent


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


def say(text: str) -> None:
    """Tell on stderr what is being measured."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    """Measure everything, print the table, say what was missed."""
    options = _options()
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    from bench import databases
    from bench.report import Report

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


class Bench:
    """All measurements, in an order in which each finds its world ready."""

    def __init__(self, options: argparse.Namespace, folder: Path, report) -> None:
        from bench import databases, floor, quality, rival, worlds
        from ct4site.models import JobType

        self.options, self.report = options, report
        self.databases, self.floor, self.quality, self.rival, self.worlds = databases, floor, quality, rival, worlds
        self.job = JobType
        self.small, self.main, self.big, self.files = (folder / name for name in ("small", "main", "big", "files"))
        self.small_seconds = 0.0
        self.small_memory = 0

    def run(self) -> None:
        self._prepare_main()
        first = self._identity_over_floor()
        self._later_runs(first)
        self.databases.drop_template(self.databases.MAIN)
        self._prepare_small()
        self._small_runs()
        self._big_runs()
        self._loading()

    def _match(self) -> float:
        return timed(lambda: self.worlds.perform(self.job.IDENTITY_RUN))

    def _refresh(self) -> float:
        return timed(lambda: self.worlds.perform(self.job.DRIVERS_INDEX_REFRESH))

    def _prepare(self, folder: Path, leads: int, template: str) -> float:
        """Make and load a world and keep it as a template; return the seconds of the first index refresh."""
        say(f"making and loading a world of {leads} leads")
        self.worlds.make(folder, leads, self.options.seed)
        if template == self.databases.MAIN:
            self.worlds.hold_back(folder, leads - self.options.leads)
        self.databases.start_from(self.databases.EMPTY)
        self.worlds.load(folder)
        self.worlds.settle()
        seconds = self._refresh()
        self.worlds.settle()
        self.databases.keep_as(template)
        return seconds

    # --- the main world ---------------------------------------------------------------------------

    def _prepare_main(self) -> None:
        from bench.report import seconds

        first = self._prepare(self.main, self.options.leads + max(1, self.options.leads // 100), self.databases.MAIN)
        self.report.show("drivers index, first refresh", seconds(first))
        self.report.show("drivers index, second refresh", seconds(self._refresh()))

    def _identity_over_floor(self) -> float:
        """Alternate the product and the floor on copies of one database; return the median of the product."""
        from bench.report import seconds

        ours: list[float] = []
        floors: list[float] = []
        for number in range(1, self.options.repetitions + 1):
            say(f"identity run over its floor, {number} of {self.options.repetitions}")
            self.databases.start_from(self.databases.MAIN)
            floors.append(timed(self.floor.run))
            floor_links = self.quality.stored_links()
            self.databases.start_from(self.databases.MAIN)
            ours.append(self._match())
        our_links = self.quality.stored_links()
        first, floor = statistics.median(ours), statistics.median(floors)
        self.report.at_most("identity run over floor", first / floor, 1.5, seconds(first), seconds(floor))
        same = sum(floor_links.get(key) == driver for key, driver in our_links.items())
        self.report.at_least(
            "links the floor makes too",
            same / max(1, len(our_links)),
            0.95,
            str(len(our_links)),
            str(len(floor_links)),
            "{:.3f}",
        )
        return first

    def _later_runs(self, first: float) -> None:
        """Run again with nothing new, then with one per cent of new leads and their drivers."""
        from bench.report import seconds

        say("later runs: nothing new, then 1 % new")
        nothing = statistics.median(self._match() for _number in range(self.options.repetitions))
        self.report.at_most(
            "second run, nothing new", 100 * nothing / first, 5, seconds(nothing), seconds(first), "{:.1f} %"
        )
        self.worlds.load(self.main / self.worlds.LATER)
        refresh = self._refresh()
        little = self._match()
        self.report.at_most(
            "run with 1 % new leads", 100 * little / first, 8, seconds(little), seconds(first), "{:.1f} %"
        )
        self.report.show("drivers index, 1 % new drivers", seconds(refresh))
        links, truth = self.quality.stored_links(), self.worlds.truth(self.main)
        for feed, name, precision, recall in (
            (self.quality.CABINET, "cabinet", 0.999, 0.95),
            (self.quality.SCOUTING, "scouting", 0.998, 0.91),
        ):
            score = self.quality.score(links, truth, feed)
            self.report.at_least(f"precision, {name}", score.precision, precision)
            self.report.at_least(f"recall, {name}", score.recall, recall)

    # --- the small and the big world --------------------------------------------------------------

    def _prepare_small(self) -> None:
        self._prepare(self.small, self.options.small, self.databases.SMALL)

    def _small_runs(self) -> None:
        """Measure the small world: memory, time, and quality beside Splink's."""
        say(f"small world of {self.options.small} leads")
        self.small_memory, _wall = self._command(self.databases.SMALL)
        times = []
        for _number in range(self.options.repetitions):
            self.databases.start_from(self.databases.SMALL)
            times.append(self._match())
        self.small_seconds = statistics.median(times)
        self._beside_splink()

    def _beside_splink(self) -> None:
        truth = self.worlds.truth(self.small)
        names = {self.quality.CABINET: "cabinet", self.quality.SCOUTING: "scouting"}
        ours = self.quality.stored_links()
        if not self.rival.is_installed():
            for name in names.values():
                for measure in ("precision", "recall"):
                    self.report.skip(f"{measure} beside Splink, {name}", f"needs {self.rival.INSTALL}")
            return
        say("Splink on the small world")
        theirs = self.rival.links()
        for feed, name in names.items():
            our_score, their_score = (self.quality.score(links, truth, feed) for links in (ours, theirs))
            for measure in ("precision", "recall"):
                our_value, their_value = getattr(our_score, measure), getattr(their_score, measure)
                self.report.at_least(
                    f"{measure} beside Splink, {name}", our_value, their_value, f"{our_value:.4f}", f"{their_value:.4f}"
                )

    def _big_runs(self) -> None:
        """Measure the big world: growth of time, growth of memory, and the command as people call it."""
        from bench.report import seconds

        options = self.options
        self._prepare(self.big, options.big, self.databases.BIG)
        say(f"big world of {options.big} leads")
        self.databases.start_from(self.databases.BIG)
        big = self._match()
        exponent = math.log(big / self.small_seconds) / math.log(options.big / options.small)
        self.report.at_most("growth exponent, small to big", exponent, 1.15, seconds(big), seconds(self.small_seconds))
        memory, wall = self._command(self.databases.BIG)
        growth = (memory - self.small_memory) / 2**20
        ours, small = (f"{size / 2**20:.0f} MB" for size in (memory, self.small_memory))
        self.report.at_most("Python memory, small to big", growth, 50, ours, small, "{:.0f} MB")
        self.report.show("run_identity of the big world as a command", seconds(wall), seconds(big))
        self.databases.drop_template(self.databases.BIG)

    def _command(self, template: str) -> tuple[int, float]:
        """Run the command in a process of its own; return its peak memory and its wall time."""
        self.databases.start_from(template)
        started = time.perf_counter()
        command = [sys.executable, "-m", "bench.child", "run_identity", "--json"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        wall = time.perf_counter() - started
        if result.returncode:
            raise RuntimeError(f"run_identity failed: {result.stderr}")
        return int(result.stderr.split()[-1]), wall

    # --- loading ----------------------------------------------------------------------------------

    def _loading(self) -> None:
        """Alternate load_source and a bare COPY of one file into an empty table."""
        from bench.report import seconds

        self.files.mkdir()
        path = self.files / "drivers.csv"
        self.worlds.many_drivers(self.big / "drivers.csv", path, self.options.load)
        ours: list[float] = []
        copies: list[float] = []
        for number in range(1, min(2, self.options.repetitions) + 1):
            say(f"load_source of {self.options.load} drivers over a bare COPY, {number}")
            self.databases.start_from(self.databases.EMPTY)
            copies.append(timed(lambda: self.worlds.copy_file("drivers", path)))
            self.databases.start_from(self.databases.EMPTY)
            ours.append(timed(lambda: self.worlds.load_file("drivers", path)))
        our_time, copy_time = statistics.median(ours), statistics.median(copies)
        self.report.at_most("load_source over COPY", our_time / copy_time, 2.5, seconds(our_time), seconds(copy_time))


if __name__ == "__main__":
    sys.exit(main())
