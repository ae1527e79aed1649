"""Demo data: an invented world of leads, drivers and scouts, told story by story, with files that say what is true.

Same number of leads and same seed: the same bytes, on every platform. "Today" is 2026-01-20 (domain.md 14.3).
"""

from pathlib import Path

from identity.demo.files import DemoFiles
from identity.demo.stories import STORIES
from identity.demo.world import World

MAX_LEADS = 1_000_000


def generate(*, leads: int, seed: int, directory: Path) -> dict[str, int]:
    """Write all source tables, the predecessor's links and the truth files of an invented world as CSV.

    Takes the number of lead rows over the three feeds (1 .. 1 000 000), the seed and the directory (made when missing;
    only files of the set are replaced, and only when the new set is complete). Returns the rows per table. Raises
    ValueError for numbers out of range and OSError when the directory cannot be written.

    `linkable` in truth_leads is decided by the story that wrote the row: the person has a driver account in the feed, the
    row has the date that matching requires, and it carries a key that a careful human could decide on. No matcher is asked.
    truth_drivers names the human of every account, those that left the feed included. truth_orphans has one row per
    account of the predecessor without a lead link: whether a lead record shows beyond doubt that it is legitimate, and
    which one; an account still in the feed may be found legitimate by matching before any repair.

    Origin: domain.md 2, 2.8, 9.2, 9.9; decisions Q76, Q78, Q79; reliability F24, F28.
    """
    if not 1 <= leads <= MAX_LEADS:
        raise ValueError("leads out of range")
    if seed < 0:
        raise ValueError("seed out of range")
    with DemoFiles(directory, leads, seed) as files:
        world = World(leads, seed, files)
        world.scouts()
        _tell(world)
        return files.rows


def _tell(world: World) -> None:
    """Tell stories in proportion to their weights, rare ones evenly spread, until the leads are exactly as many."""
    total = sum(story.weight for story in STORIES)
    credits = [story.weight * world.dice.roll() for story in STORIES]
    while (missing := world.leads - world.leads_written) > 0:
        best = 0
        for index, story in enumerate(STORIES):
            credits[index] += story.weight
            if credits[index] > credits[best]:
                best = index
        credits[best] -= total
        chosen = STORIES[best]
        if chosen.leads <= missing:
            chosen.tell(world, chosen.name)
            world.settle()
