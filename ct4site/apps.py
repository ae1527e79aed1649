"""The kernel: settings, embedded database, SQL files, runs, audit, admin base classes."""

from typing import Any

from django.apps import AppConfig, apps
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class KernelConfig(AppConfig):
    name = "ct4site"
    verbose_name = gettext_lazy("Operations")

    def ready(self) -> None:
        from ct4site import checks, demo_chain, queue, roles, rollback  # noqa: F401  register themselves
        from ct4site.review import leftovers, refreshing  # noqa: F401  register themselves

        # The heading over its screens; axes names itself only in English.
        apps.get_app_config("axes").verbose_name = gettext_lazy("Sign-ins")
        pre_migrate.connect(make_way_for_migrations, sender=self, dispatch_uid="ct4site.make_way_for_migrations")
        post_migrate.connect(sync_after_migrate, sender=self, dispatch_uid="ct4site.sync_after_migrate")
        post_migrate.connect(roles.keep_roles, sender=self, dispatch_uid="ct4site.keep_roles")


def make_way_for_migrations(*, using: str, plan: list[tuple[Any, bool]] | None = None, **kwargs: Any) -> None:
    """Before migrations of our apps run, drop the views over their tables: PostgreSQL refuses to retype a column under a view.

    Raises CommandError, before anything is migrated, when a view of someone else stands on one of ours.
    """
    from ct4site import schemas, sqlfiles

    if using != DEFAULT_DB_ALIAS or not any(
        migration.app_label in schemas.APPS for migration, _backwards in plan or []
    ):
        return
    try:
        sqlfiles.drop_views(connections[using])
    except sqlfiles.SyncError as error:
        raise CommandError(_("Nothing was migrated. %(reason)s") % {"reason": error}) from error


def sync_after_migrate(*, using: str, verbosity: int = 1, stdout: Any = None, **kwargs: Any) -> None:
    """After every ``migrate`` make functions and views as the files say, once all migrations of our apps are applied.

    Raises CommandError when the database refuses; the migrations stay applied and ``manage.py sync_views`` does the rest.
    """
    from ct4site import sqlfiles

    if using != DEFAULT_DB_ALIAS:
        return
    connection = connections[using]
    try:
        with connection.cursor() as cursor:
            ready = sqlfiles.has_register(cursor)
        # Cheap question first: a flush sends this signal too, after every transactional test.
        if not ready or not sqlfiles.out_of_date(connection=connection) or not _is_newest(connection):
            return
        report = sqlfiles.sync(connection=connection)
    except sqlfiles.SyncError as error:
        raise CommandError(
            _("The migrations are applied, the views are not: %(reason)s Correct it and run “manage.py sync_views”.")
            % {"reason": error}
        ) from error
    if stdout is not None and verbosity >= 1:
        stdout.write(
            _("  Made %(functions)d functions and %(views)d views, removed %(removed)d.\n")
            % {"functions": report.functions, "views": report.views, "removed": report.removed}
        )


def _is_newest(connection: BaseDatabaseWrapper) -> bool:
    """Whether all migrations of our apps are applied: the files describe the newest state, not one taken back to."""
    from ct4site import schemas

    executor = MigrationExecutor(connection)
    leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] in schemas.APPS]
    return not executor.migration_plan(leaves)
