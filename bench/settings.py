"""Settings of the bench: those of CT4, on a database of its own beside the user's."""

import os

from django.core.exceptions import ImproperlyConfigured

from ct4site.settings import *  # noqa: F403
from ct4site.settings import DATABASES

BENCH_DATABASE = os.environ.get("BENCH_DATABASE", "ct4_bench")
if str(DATABASES["default"]["NAME"]).startswith(BENCH_DATABASE):
    raise ImproperlyConfigured(f"The bench makes and drops {BENCH_DATABASE}; it cannot be the database of CT4 itself.")
DATABASES["default"]["NAME"] = BENCH_DATABASE
