"""Every environment variable CT4 reads: one table, read once, checked at start.

``VARIABLES`` is the single list: settings read it, docs/configuration.md shows it, a test holds
the two together. An unknown ``CT4_`` name or an unusable value stops the start with a sentence.
"""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import filelock
from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"0", "false", "no", "off"}


def boolean(text: str) -> bool:
    if text.lower() in TRUE_WORDS:
        return True
    if text.lower() in FALSE_WORDS:
        return False
    raise ValueError("write true or false")


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("write a whole number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"write a whole number from {minimum} to {maximum}")
        return value

    return parse


def fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("write a number from 0 to 1, such as 0.66") from None
    if not 0 <= value <= 1:
        raise ValueError("write a number from 0 to 1, such as 0.66")
    return value


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("write a day such as 2024-01-01") from None


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def choice(*options: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(f"write one of: {', '.join(options)}")
        return text

    return parse


@dataclass(frozen=True)
class Variable:
    """One environment variable: how it is read, what it is without a value, what it does."""

    name: str
    default: Any
    parse: Callable[[str], Any]
    meaning: str
    secret: bool = False


VARIABLES = (
    Variable("CT4_ENV", "development", choice("development", "production"), "production demands CT4_SECRET_KEY and CT4_ALLOWED_HOSTS, forces HTTPS and refuses CT4_DEBUG"),
    Variable("CT4_DEBUG", False, boolean, "Django's debug pages; refused in production"),
    Variable("CT4_SECRET_KEY", "", str, "signs sessions and queue payloads; at least 50 characters; required in production, made per installation otherwise", secret=True),
    Variable("CT4_ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"], words, "host names the site answers to, separated by commas; required in production"),
    Variable("CT4_TRUSTED_ORIGINS", [], words, "origins allowed to post forms, separated by commas, each with https://"),
    Variable("CT4_HOME", "", str, "folder of everything that is not source: embedded database, rejects, reports; default .ct4 beside manage.py"),
    Variable("DATABASE_URL", "", str, "postgres://user:password@host:port/name of a PostgreSQL 15 or newer; without it the embedded server is used", secret=True),
    Variable("CT4_PARK_ID_OBJETIVO", "08e20910d81d42658d4334d3f6d10ac0", str, "park searched first by the matching rules"),
    Variable("CT4_NAME_SIMILARITY_THRESHOLD", 0.66, fraction, "least name similarity of rules R3, R3b and R4 (Q5)"),
    Variable("CT4_NAME_SIMILARITY_GAP", 0.15, fraction, "least lead of the best name over the second best"),
    Variable("CT4_R3_DAYS_BEFORE", 90, integer(0, 3650), "R3: days a hire date may lie before the lead (Q6)"),
    Variable("CT4_R3_DAYS_AFTER", 30, integer(0, 3650), "R3: days a hire date may lie after the lead (Q6)"),
    Variable("CT4_R3C_ENABLED", False, boolean, "rule R3C_PLATE_UNIQUE_NAME_SUBSET (Q5)"),
    Variable("CT4_NAME_CONTRADICTION_BLOCKS", True, boolean, "an equal phone or licence with a contradicting name does not link (Q76)"),
    Variable("CT4_SHARED_KEY_LIMIT", 3, integer(1, 1000), "a phone or licence of more persons or drivers than this never links by itself"),
    Variable("CT4_PERSON_SOURCE_LIMIT", 6, integer(1, 1000), "source records one person may have before a job stops adding to it"),
    Variable("CT4_LEAD_SYSTEM_START_DATE", date(2024, 1, 1), day, "first day of the lead system; drivers from before it that lack any trace of a lead are legacy (Q52)"),
    Variable("CT4_REPORTS_ROOT", "", str, "folder below which reports may be written; default the folder reports of the home folder"),
    Variable("CT4_CONFLICT_WINDOW_DAYS", 7, integer(0, 3650), "two scouts who claim a person within this many days are a conflict (ledger rule C)"),
    Variable("CT4_LEDGER_CONFLICT_BEATS_FLEET", True, boolean, "such a conflict leaves a person without scout even when a migration names one (Q12)"),
    Variable("CT4_CHUNK_SIZE", 5000, integer(1, 1_000_000), "rows per transaction of a batch job"),
    Variable("CT4_APPLY_CONNECTIONS", 2, integer(1, 16), "database connections that apply a plan side by side"),
    Variable("CT4_RUN_LEASE_SECONDS", 120, integer(1, 86400), "a run without a sign of life for this long counts as lost"),
    Variable("CT4_REVIEW_DUE_DAYS", 3, integer(0, 250), "working days a reviewer has for a new case"),
    Variable("CT4_REVIEW_CASES_PER_DAY", 50, integer(1, 100000), "cases of one run that fall due on one working day"),
    Variable("CT4_REVIEW_LEASE_SECONDS", 90, integer(10, 3600), "how long a reviewer holds a case without a sign of life"),
    Variable("CT4_REVIEW_LEASES_PER_USER", 10, integer(1, 1000), "cases one reviewer may hold at once"),
    Variable("CT4_REVIEW_BULK_LIMIT", 20, integer(1, 5000), "decisions at once from which on a second person approves"),
    Variable("CT4_WORKERS", 2, integer(1, 64), "processes of the queue worker"),
)  # fmt: skip


def read(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Read and check all variables.

    Takes a mapping of environment variables, returns ``{name: parsed value}`` for every entry of
    ``VARIABLES``. Raises ``ImproperlyConfigured`` with one sentence per fault: an unknown
    ``CT4_`` name, a value that cannot be used, or what production demands and lacks.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = {variable.name for variable in VARIABLES} | {"CT4_IN_ENVIRONMENT", "CT4_FAULT"}
    for name in sorted(environ):
        if name.startswith("CT4_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            faults.append(f"{name} is not a setting of CT4.{hint}")
    for variable in VARIABLES:
        text = environ.get(variable.name, "").strip()
        values[variable.name] = variable.default
        if text:
            try:
                values[variable.name] = variable.parse(text)
            except ValueError as error:
                shown = "its value" if variable.secret else repr(text)
                faults.append(f"{variable.name}: {shown} cannot be used, {error}.")
    if values["CT4_ENV"] == "production":
        if values["CT4_DEBUG"]:
            faults.append("CT4_DEBUG must not be on in production.")
        if not values["CT4_SECRET_KEY"]:
            faults.append("CT4_SECRET_KEY is missing; production needs one of at least 50 random characters.")
        if "*" in values["CT4_ALLOWED_HOSTS"]:
            faults.append("CT4_ALLOWED_HOSTS must name hosts in production, * admits any.")
        if not values["CT4_ALLOWED_HOSTS"] or not environ.get("CT4_ALLOWED_HOSTS", "").strip():
            faults.append("CT4_ALLOWED_HOSTS is missing; production needs the host names it answers to.")
    secret = values["CT4_SECRET_KEY"]
    if secret and (len(secret) < 50 or len(set(secret)) < 5 or secret.startswith("django-insecure")):
        faults.append("CT4_SECRET_KEY is too weak; use at least 50 random characters.")
    if faults:
        raise ImproperlyConfigured("CT4 cannot start. " + " ".join(faults) + " See docs/configuration.md.")
    return values


def local_secret_key(home: Path) -> str:
    """Return the secret key of this installation, made on first use and kept in the data folder.

    Takes the home folder. Raises ``ImproperlyConfigured`` when that folder cannot be used.
    """
    path = home / "secret_key"
    try:
        if not path.exists():
            home.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(home / "lock"):  # two processes may start first at once
                if not path.exists():
                    unfinished = home / "secret_key.new"
                    unfinished.unlink(missing_ok=True)
                    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(descriptor, "w", encoding="ascii") as file:
                        file.write(secrets.token_urlsafe(64))
                    unfinished.replace(path)
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"CT4 cannot start. The folder {home} cannot be used ({error.strerror}); "
            "set CT4_HOME to a folder of your own. See docs/configuration.md."
        ) from error
