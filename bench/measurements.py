"""The measurements of the bench, in an order in which each finds its world ready."""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from bench import databases, floor, pages, quality, review_pages, rival, worlds
from bench.report import Report, say, seconds
from ct4site.models import JobType

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent


def timed(work: Callable[[], object]) -> float:
    """Return the seconds a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Bench:
    """All measurements, in an order in which each finds its world ready."""

    def __init__(self, options: argparse.Namespace, folder: Path, report: Report) -> None:
        self.options, self.report = options, report
        self.small, self.main, self.big, self.files = (folder / name for name in ("small", "main", "big", "files"))
        self.lost = folder / "lost"
        settings.REPORTS_ROOT = folder / "reports"  # not among the user's own
        self.small_seconds = self.small_orphan_seconds = self.small_scout_seconds = self.small_retry_seconds = 0.0
        self.small_memory = 0
        self.main_pages: dict[str, tuple[float, int]] = {}

    def run(self) -> None:
        self._prepare_main()
        first = self._identity_over_floor()
        self._later_runs(first)
        self._orphans_over_floor()
        self._scouts_over_floor()
        self._collection_over_floor()
        self._review()
        self._recovery_over_floor()
        databases.drop_template(databases.MAIN)
        self._small_runs()
        self._big_runs()
        self._loading()

    def _match(self) -> float:
        return timed(lambda: worlds.perform(JobType.IDENTITY_RUN))

    def _refresh(self) -> float:
        return timed(lambda: worlds.perform(JobType.DRIVERS_INDEX_REFRESH))

    def _prepare(self, folder: Path, leads: int, template: str) -> float:
        """Make and load a world and keep it as a template; return the seconds of the first index refresh."""
        say(f"making and loading a world of {leads} leads")
        worlds.make(folder, leads, self.options.seed)
        if template == databases.MAIN:
            worlds.hold_back(folder, leads - self.options.leads)
        databases.start_from(databases.EMPTY)
        worlds.load(folder)
        worlds.settle()
        refresh = self._refresh()
        worlds.settle()
        databases.keep_as(template)
        return refresh

    # --- the main world ---------------------------------------------------------------------------

    def _prepare_main(self) -> None:
        first = self._prepare(self.main, self.options.leads + max(1, self.options.leads // 100), databases.MAIN)
        self.report.show("drivers index, first refresh", seconds(first))
        self.report.show("drivers index, second refresh", seconds(self._refresh()))

    def _alternate(
        self, what: str, template: str, work: Callable[[], float], result: Callable[[], T], *floors: tuple[str, ...]
    ) -> tuple[float, list[float], T, T]:
        """Run a job and its floors in turn on copies of one database.

        Returns the median seconds of the job and of every floor, and what the job and the first floor came to.
        """
        ours: list[float] = []
        times: dict[tuple[str, ...], list[float]] = {name: [] for name in floors}
        for number in range(1, self.options.repetitions + 1):
            say(f"{what} over its floor, {number} of {self.options.repetitions}")
            for name in floors:
                databases.start_from(template)
                times[name].append(timed(partial(floor.run, name)))
                if name == floors[0]:
                    floor_result = result()
            databases.start_from(template)
            ours.append(work())
        return statistics.median(ours), [statistics.median(times[name]) for name in floors], result(), floor_result

    def _identity_over_floor(self) -> float:
        """Return the median of the product."""
        first, (least, lean), our_links, floor_links = self._alternate(
            "identity run", databases.MAIN, self._match, quality.stored_links, floor.FLOOR, floor.LEANEST
        )
        self.report.at_most("identity run over floor", first / least, 1.5, seconds(first), seconds(least))
        self.report.show("identity run over shared tables", seconds(first), seconds(lean), f"{first / lean:.2f}")
        self._links_as_floor("links the floor makes too", our_links, floor_links)
        return first

    def _links_as_floor(self, name: str, ours: dict[Any, Any], floors: dict[Any, Any]) -> None:
        same = sum(floors.get(key) == driver for key, driver in ours.items())
        self.report.at_least(name, same / max(1, len(ours)), 0.95, str(len(ours)), str(len(floors)), "{:.3f}")

    def _orphans_over_floor(self) -> None:
        """On a decided world, of whose leads 5 % as many are orphans."""
        self._prepare_orphans(self.options.leads)
        first, (least,), our_repairs, floor_repairs = self._alternate(
            "orphan job", databases.ORPHANS, self._fix, quality.repaired_drivers, floor.ORPHANS
        )
        self.report.at_most("orphan job over floor", first / least, 2, seconds(first), seconds(least))
        self._same_as_floor("repairs the floor makes too", our_repairs, floor_repairs)
        self.report.show("orphan job, nothing new", seconds(self._fix()))

    def _same_as_floor(self, name: str, ours: set[Any], floors: set[Any]) -> None:
        share = len(ours & floors) / max(1, len(ours | floors))
        self.report.at_least(name, share, 0.95, str(len(ours)), str(len(floors)), "{:.3f}")

    def _fix(self) -> float:
        return timed(lambda: worlds.perform(JobType.ORPHANS_FIX))

    def _prepare_orphans(self, leads: int) -> None:
        """Add orphans to the present, decided world and keep it as a template."""
        worlds.add_orphans(leads // 20)
        worlds.settle()
        databases.keep_as(databases.ORPHANS)

    def _orphan_seconds(self, leads: int) -> float:
        """Return the median time of the orphan job on the present, decided world with orphans added."""
        self._prepare_orphans(leads)
        return self._median(databases.ORPHANS, self._fix)

    def _median(self, template: str, work: Callable[[], float]) -> float:
        """Return the median time of a job on fresh copies of a database."""
        times = []
        for _number in range(self.options.repetitions):
            databases.start_from(template)
            times.append(work())
        return statistics.median(times)

    def _scouts_over_floor(self) -> None:
        """On the same leads and half as many registrations."""
        self._prepare_scouts(self.options.leads)
        first, (least,), our_scouts, floor_scouts = self._alternate(
            "refresh of attribution", databases.SCOUTS, self._attribute, quality.scouts, floor.SCOUTS
        )
        self.report.at_most("refresh of attribution over floor", first / least, 2, seconds(first), seconds(least))
        same = sum(floor_scouts.get(record) == scout for record, scout in our_scouts.items())
        counts = (str(len(our_scouts)), str(len(floor_scouts)))
        self.report.at_least("scouts the floor gives too", same / max(1, len(our_scouts)), 0.95, *counts, "{:.3f}")
        again = statistics.median(self._attribute() for _number in range(self.options.repetitions))
        self.report.at_most(
            "refresh of attribution, nothing new", 100 * again / first, 5, seconds(again), seconds(first), "{:.1f} %"
        )
        score = quality.scout_score(worlds.scout_truth(self.main), worlds.truth(self.main))
        self.report.at_most("persons given to a wrong scout", score.wrong, 0, form="{:.0f}")
        self.report.at_most("disputed persons given to a scout", score.disputed, 0, form="{:.0f}")
        self.report.at_least("recall of undisputed scouts", score.recall, 0.95)
        self.report.show("the same, of all that is true", f"{score.recall_of_all:.4f}")

    def _collection_over_floor(self) -> None:
        """Two accounts per lead, ten days each; then the pages that show it."""
        self._prepare_collection(self.options.leads)
        first, (least,), our_claims, floor_claims = self._alternate(
            "refresh of collection", databases.COLLECTION, self._collect, quality.claims, floor.COLLECTION
        )
        self.report.at_most("refresh of collection over floor", first / least, 2, seconds(first), seconds(least))
        self._same_as_floor("claims the floor makes too", our_claims, floor_claims)
        again = statistics.median(self._collect() for _number in range(self.options.repetitions))
        self.report.show("refresh of collection, nothing new", seconds(again), seconds(first))
        self.main_pages = self._pages()

    def _prepare_collection(self, leads: int) -> None:
        """Add accounts, days and payments to the present, attributed world and keep it as a template."""
        worlds.add_collection(2 * leads)
        worlds.settle()
        databases.keep_as(databases.COLLECTION)

    def _pages(self) -> dict[str, tuple[float, int]]:
        """Settle what is due in the present world, then measure the pages."""
        worlds.settle_scouts()
        worlds.settle()
        return pages.measure()

    def _review(self) -> None:
        """Cases of the present, collected world, with a queue of a hundred a kind and of a hundred thousand."""
        say("pages of review")
        worlds.perform(JobType.REVIEW_REFRESH)
        measured = review_pages.measure()
        for step, kind in product(review_pages.STEPS, review_pages.CHOICES):
            name = f"a case is {step}, {kind}: long queue over short"
            if (step, kind) not in measured:
                self.report.skip(name, "this world has none")
                continue
            short, long, _statements = measured[step, kind]
            self.report.at_most(name, long / short, 1.5, seconds(long), seconds(short))
        most = max(statements for _short, _long, statements in measured.values())
        self.report.at_most("statements of opening or deciding a case", most, 25, form="{:.0f}")

    def _pages_over_tenth(self) -> None:
        """Measure the pages with a tenth of the data, and compare."""
        databases.start_from(databases.SCOUTS)
        self._attribute()
        self._prepare_collection(self.options.small)
        self._collect()
        say("pages of collection and settlement")
        for name, (small, _statements) in self._pages().items():
            main = self.main_pages[name][0]
            self.report.at_most(f"page over a tenth: {name}", main / small, 1.5, seconds(main), seconds(small))
        most = max(statements for _seconds, statements in self.main_pages.values())
        self.report.at_most("statements of a page", most, 10, form="{:.0f}")

    def _collect(self) -> float:
        return timed(lambda: worlds.perform(JobType.COLLECTION_REFRESH))

    def _attribute(self) -> float:
        return timed(lambda: worlds.perform(JobType.SCOUT_REFRESH))

    def _prepare_scouts(self, leads: int) -> None:
        """Add registrations to the present, decided world, half as many in all as leads; keep it as a template."""
        worlds.add_registrations(leads // 2)
        worlds.settle()
        databases.keep_as(databases.SCOUTS)

    def _scout_seconds(self, leads: int) -> float:
        """Return the median time of the refresh of attribution on the present, decided world with more registrations."""
        self._prepare_scouts(leads)
        return self._median(databases.SCOUTS, self._attribute)

    def _recovery_over_floor(self) -> None:
        """Cabinet leads that only the retry matches; then one per cent of new drivers."""
        self._prepare_recovery(self.options.leads)
        first, (least,), our_links, floor_links = self._alternate(
            "retry of lost leads", databases.RECOVERY, self._retry, quality.stored_links, floor.RECOVERY
        )
        self.report.at_most("retry of lost leads over floor", first / least, 1.5, seconds(first), seconds(least))
        self._links_as_floor("lost leads the floor finds too", our_links, floor_links)
        self.report.show("retry, nothing new", seconds(self._retry()))
        worlds.load_file("drivers", self.lost / worlds.LATER / "drivers.csv")
        self._refresh()
        little = self._retry()
        self.report.at_most(
            "retry, 1 % new drivers", 100 * little / first, 8, seconds(little), seconds(first), "{:.1f} %"
        )

    def _prepare_recovery(self, leads: int) -> None:
        """Make a world of ``leads`` lost cabinet leads and the drivers of most of them, and keep it as a template."""
        say(f"making and loading a world of {leads} lost leads")
        shutil.rmtree(self.lost, ignore_errors=True)
        worlds.make(self.lost, leads * 17 // 10, self.options.seed)  # somewhat more than half of all are of the cabinet
        worlds.hold_back(self.lost, leads * 17 // 1000)
        databases.start_from(databases.EMPTY)
        worlds.load_lost(self.lost, leads)
        self._refresh()
        worlds.settle()
        databases.keep_as(databases.RECOVERY)

    def _retry_seconds(self, leads: int) -> float:
        """Return the median time of the retry of so many lost leads."""
        self._prepare_recovery(leads)
        return self._median(databases.RECOVERY, self._retry)

    def _retry(self) -> float:
        return timed(lambda: worlds.perform(JobType.GAP_RECOVERY))

    def _later_runs(self, first: float) -> None:
        """Run again with nothing new, then with one per cent of new leads and their drivers."""
        say("later runs: nothing new, then 1 % new")
        nothing = statistics.median(self._match() for _number in range(self.options.repetitions))
        self.report.at_most(
            "second run, nothing new", 100 * nothing / first, 5, seconds(nothing), seconds(first), "{:.1f} %"
        )
        worlds.load(self.main / worlds.LATER)
        refresh = self._refresh()
        little = self._match()
        self.report.at_most(
            "run with 1 % new leads", 100 * little / first, 8, seconds(little), seconds(first), "{:.1f} %"
        )
        self.report.show("drivers index, 1 % new drivers", seconds(refresh))
        links, truth = quality.stored_links(), worlds.truth(self.main)
        for feed, name, precision, recall in (
            (quality.CABINET, "cabinet", 0.999, 0.95),
            (quality.SCOUTING, "scouting", 0.998, 0.91),
        ):
            score = quality.score(links, truth, feed)
            self.report.at_least(f"precision, {name}", score.precision, precision)
            self.report.at_least(f"recall, {name}", score.recall, recall)

    # --- the small and the big world --------------------------------------------------------------

    def _small_runs(self) -> None:
        """Measure the small world: memory, time, and quality beside Splink's."""
        self._prepare(self.small, self.options.small, databases.SMALL)
        say(f"small world of {self.options.small} leads")
        self.small_memory, _wall = self._command(databases.SMALL)
        self.small_seconds = self._median(databases.SMALL, self._match)
        self._beside_splink()
        self.small_orphan_seconds = self._orphan_seconds(self.options.small)
        self.small_scout_seconds = self._scout_seconds(self.options.small)
        self._pages_over_tenth()
        self.small_retry_seconds = self._retry_seconds(self.options.small)

    def _beside_splink(self) -> None:
        truth = worlds.truth(self.small)
        names = {quality.CABINET: "cabinet", quality.SCOUTING: "scouting"}
        ours = quality.stored_links()
        if not rival.is_installed():
            for name in names.values():
                for measure in ("precision", "recall"):
                    self.report.skip(f"{measure} beside Splink, {name}", f"needs {rival.INSTALL}")
            return
        say("Splink on the small world")
        theirs = rival.links()
        for feed, name in names.items():
            our_score, their_score = (quality.score(links, truth, feed) for links in (ours, theirs))
            for measure in ("precision", "recall"):
                our_value, their_value = getattr(our_score, measure), getattr(their_score, measure)
                self.report.at_least(
                    f"{measure} beside Splink, {name}", our_value, their_value, f"{our_value:.4f}", f"{their_value:.4f}"
                )

    def _big_runs(self) -> None:
        """Measure the big world: growth of time, growth of memory, and the command as people call it."""
        options = self.options
        self._prepare(self.big, options.big, databases.BIG)
        say(f"big world of {options.big} leads")
        databases.start_from(databases.BIG)
        big = self._match()
        self._growth("identity run", big, self.small_seconds)
        self._growth("orphan job", self._orphan_seconds(options.big), self.small_orphan_seconds)
        self._growth("refresh of attribution", self._scout_seconds(options.big), self.small_scout_seconds)
        self._growth("retry of lost leads", self._retry_seconds(options.big), self.small_retry_seconds)
        memory, wall = self._command(databases.BIG)
        growth = (memory - self.small_memory) / 2**20
        ours, small = (f"{size / 2**20:.0f} MB" for size in (memory, self.small_memory))
        self.report.at_most("Python memory, small to big", growth, 50, ours, small, "{:.0f} MB")
        self.report.show("run_identity of the big world as a command", seconds(wall), seconds(big))
        databases.drop_template(databases.BIG)

    def _growth(self, name: str, big: float, small: float) -> None:
        exponent = math.log(big / small) / math.log(self.options.big / self.options.small)
        self.report.at_most(f"growth exponent, {name}", exponent, 1.15, seconds(big), seconds(small))

    def _command(self, template: str) -> tuple[int, float]:
        """Run the command in a process of its own; return its peak memory and its wall time."""
        databases.start_from(template)
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
        self.files.mkdir()
        path = self.files / "drivers.csv"
        worlds.many_drivers(self.big / "drivers.csv", path, self.options.load)
        ours: list[float] = []
        copies: list[float] = []
        for number in range(1, min(2, self.options.repetitions) + 1):
            say(f"load_source of {self.options.load} drivers over a bare COPY, {number}")
            databases.start_from(databases.EMPTY)
            copies.append(timed(lambda: worlds.copy_file("drivers", path)))
            databases.start_from(databases.EMPTY)
            ours.append(timed(lambda: worlds.load_file("drivers", path)))
        our_time, copy_time = statistics.median(ours), statistics.median(copies)
        self.report.at_most("load_source over COPY", our_time / copy_time, 2.5, seconds(our_time), seconds(copy_time))
