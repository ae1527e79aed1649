"""A matched lead that a person moves keeps its try: it names the person the lead is linked to."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from ct4site.jobs import statement
from identity.signals import lead_links_moved


@receiver(lead_links_moved)
def follow_moved_leads(sender: Any, *, persons: Sequence[uuid.UUID], **_kwargs: Any) -> None:
    """Listen to leads that left persons and let their tries follow."""
    statement("recovery_moved", {"persons": list(persons)})
