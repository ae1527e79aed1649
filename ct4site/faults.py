"""Named points at which a test may kill the process (reliability F7). Inert without CT4_FAULT."""

import os
import signal

from django.conf import settings


def point(name: str) -> None:
    """Die here, without any clean-up, when CT4_FAULT names this point (never in production)."""
    if os.environ.get("CT4_FAULT") == name and not settings.PRODUCTION:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
