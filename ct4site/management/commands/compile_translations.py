"""Write the .mo files from the .po files, without GNU gettext."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _


def catalogs() -> list[Path]:
    """Return every .po file of the project, in order of its path."""
    return sorted(path for folder in settings.LOCALE_PATHS for path in Path(folder).glob("*/LC_MESSAGES/*.po"))


class Command(BaseCommand):
    requires_system_checks: list[str] = []

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Write the .mo files from the .po files. Both are committed: the machines that run CT4 lack GNU gettext."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            import polib
        except ImportError as error:
            raise CommandError(_("The package polib is missing; install requirements/dev.txt.")) from error
        for path in catalogs():
            catalog = polib.pofile(str(path))
            catalog.save_as_mofile(str(path.with_suffix(".mo")))
            self.stdout.write(
                _("%(file)s: %(translated)d of %(total)d translated")
                % {
                    "file": path.relative_to(settings.BASE_DIR),
                    "translated": len(catalog.translated_entries()),
                    "total": len([entry for entry in catalog if not entry.obsolete]),
                }
            )
