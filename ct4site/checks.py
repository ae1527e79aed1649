"""System checks of the kernel."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.utils.translation import gettext as _

from ct4site import sqlfiles

SHOWN = 5


@register(Tags.database)
def views_out_of_date(
    *, app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn (ct4.W001) when functions or views differ from their files (reliability.md F29).

    Never raises. Silent in a database without the register: there Django itself reports the missing migrations.
    """
    if DEFAULT_DB_ALIAS not in (databases or []):
        return []
    try:
        connection = connections[DEFAULT_DB_ALIAS]
        with connection.cursor() as cursor:
            if not sqlfiles.has_register(cursor):
                return []
        differences = sqlfiles.out_of_date(connection=connection)
    except sqlfiles.SyncError as error:
        return [_warning(str(error), _("Correct the file, then run “manage.py sync_views”."))]
    except (DatabaseError, ImproperlyConfigured, OSError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        return [
            _warning(
                _("The database cannot be asked whether its views are up to date: %(reason)s") % {"reason": reason},
                _("Start the database, then run “manage.py sync_views --check”."),
            )
        ]
    if not differences:
        return []
    return [
        _warning(
            _("Views are out of date (%(count)d): %(list)s")
            % {
                "count": len(differences),
                "list": "; ".join(differences[:SHOWN]) + ("; …" if len(differences) > SHOWN else ""),
            },
            _("Run “manage.py migrate” or, where no migration is open, “manage.py sync_views”."),
        )
    ]


def _warning(message: str, hint: str) -> CheckMessage:
    return Warning(message, hint=hint, id="ct4.W001")
