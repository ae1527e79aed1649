"""Report files: where they may be written, and how (reliability F17, domain.md 9.6 and 13.6)."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from django.utils.translation import gettext as _

from ct4site.jobs import JobError


def safe_cell(text: str) -> str:
    """The text with an apostrophe before anything a spreadsheet would take for a formula (OWASP)."""
    seen = text.lstrip(" \ufeff\u00a0")
    return f"'{text}" if seen[:1] in tuple("=+-@|%＝＋－＠\t\r\n'") else text


def report_folder(given: str | None) -> Path:
    """Return the folder for reports that somebody asked for; it need not exist yet.

    Takes a path, relative ones below the reports root (CT4_REPORTS_ROOT), or nothing for the root itself. Raises
    ``JobError`` when it lies outside the root, by ``..``, an absolute path or a symbolic link.
    """
    root = settings.REPORTS_ROOT
    try:
        folder = (root / (given or "")).resolve()
        inside = folder.is_relative_to(root.resolve()) and all(len(os.fsencode(part)) <= 255 for part in folder.parts)
        with suppress(FileNotFoundError):
            folder.stat()
    except (ValueError, OSError, RuntimeError):  # NUL, far too long, a file in the way, links in a circle
        inside = False
    if not inside:
        raise JobError(
            _("The folder %(folder)s is not inside the reports folder %(root)s. Choose one inside it.")
            % {"folder": repr(given), "root": root}
        )
    return folder


def write_reports(
    folder: Path, prefix: str, head: Mapping[str, Any], rows_name: str, columns: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Any]]],
) -> Path:  # fmt: skip
    """Write ``<prefix>_YYYYMMDD_HHMMSS.json`` and ``.csv`` (time of Lima) into a folder, made if it is missing.

    Takes what the JSON file says first (``timestamp`` is added), the name of its list of rows, the columns, and the
    rows, each as JSON text and as its cells. Both files are complete or absent, and readable by their owner only. Returns the path of the JSON file.
    Raises ``JobError`` when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, stamp = _free_name(folder, prefix)
        parts = [path.with_suffix(f"{suffix}.part") for suffix in (".json", ".csv")]
        with ExitStack() as files:
            as_json, as_csv = (files.enter_context(_private(part)) for part in parts)
            writer = csv.writer(as_csv)
            writer.writerow(columns)
            as_json.write(json.dumps({"timestamp": stamp, **head}, cls=DjangoJSONEncoder, ensure_ascii=False)[:-1])
            as_json.write(f', "{rows_name}": [')
            for number, (text, cells) in enumerate(rows):
                as_json.write(f",\n{text}" if number else f"\n{text}")
                writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells])
            as_json.write("\n]}\n")
        for part in reversed(parts):
            part.replace(part.with_suffix(""))
    except OSError as error:
        raise JobError(
            _("The report cannot be written to %(folder)s: %(reason)s.")
            % {"folder": folder, "reason": error.strerror or type(error).__name__}
        ) from error
    return path


def _free_name(folder: Path, prefix: str) -> tuple[Path, str]:
    """A name nobody has: of two reports within one second the later one gets the next second."""
    moment = timezone.localtime()
    while True:
        stamp = moment.strftime("%Y%m%d_%H%M%S")
        path = folder / f"{prefix}_{stamp}.json"
        if not path.exists():
            return path, stamp
        moment += timedelta(seconds=1)


def _private(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
