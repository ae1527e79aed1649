"""CSV files into source tables: ``load_source`` and what its callers need to know."""

from identity.sources.loading import LoadTally, load_source
from identity.sources.reading import SourceFileRefused
from identity.sources.tables import SOURCE_TABLES

__all__ = ["SOURCE_TABLES", "LoadTally", "SourceFileRefused", "load_source"]
