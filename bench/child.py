"""`python -m bench.child COMMAND ...`: one manage.py command on the bench's database, then the peak of its memory.

The last line on stderr is the peak in bytes. A process measures itself because what the parent is told about a
child on Linux includes the parent's own size at the start.
"""

from __future__ import annotations

import sys
from pathlib import Path

from django.core.management import execute_from_command_line


def peak_memory() -> int:
    """Return the largest resident size this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    execute_from_command_line(["manage.py", *sys.argv[1:]])
    print(peak_memory(), file=sys.stderr)
