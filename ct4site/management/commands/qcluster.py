"""django-q2's own command would run any function and not stop cleanly: the same as ``worker``."""

from ct4site.management.commands.worker import Command

__all__ = ["Command"]
