"""Lint sql/: layout of every file, and that a parser other than PostgreSQL's understands the views.

Creating the relations in a real database, which the tests do, is the true check; this one names file and
line within a second. Functions are opaque to the parser and the statements of jobs have gaps: of both, only the layout is
looked at.
"""

import sys
from pathlib import Path

import sqlglot

ROOT = Path(__file__).resolve().parent.parent
LONGEST_LINE = 120


def faults(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE:
            found.append(f"{number}: longer than {LONGEST_LINE} characters")
        if "\t" in line or line != line.rstrip():
            found.append(f"{number}: tab, carriage return or space at the end")
    if not text.endswith("\n") or text.endswith("\n\n"):
        found.append("does not end in one line break")
    if not text.startswith("-- "):
        found.append("1: no header that says what it is")
    if not {"functions", "jobs"} & set(path.parts):
        try:
            sqlglot.parse(text, dialect="postgres")
        except sqlglot.errors.ParseError as error:
            found.append(f"cannot be parsed: {str(error).splitlines()[0]}")
    return found


def main() -> int:
    files = sorted((ROOT / "sql").rglob("*.sql"))
    lines = [f"{path.relative_to(ROOT)}:{fault}" for path in files for fault in faults(path)]
    sys.stdout.write("".join(f"{line}\n" for line in lines) + f"{len(files)} SQL files, {len(lines)} faults\n")
    return 1 if lines or not files else 0


if __name__ == "__main__":
    sys.exit(main())
