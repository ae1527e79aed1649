"""Models of identity: source tables and own tables."""

# source tables
from identity.models.sources import (
    CabinetLead,
    CabinetPayment,
    DailyTrips,
    Driver,
    MigrationRecord,
    ScoutingRegistration,
    ScoutListEntry,
)

# own tables
from identity.models.tables import (
    LEAD_TABLES,
    ConfidenceLevel,
    DecidedBy,
    DriverIndexEntry,
    LeadEvent,
    Link,
    ManualLead,
    Origin,
    OriginChange,
    OriginTag,
    Person,
    ReasonCode,
    Refusal,
    ResolutionStatus,
    SourceTable,
    Unmatched,
    UnmatchedStatus,
)

__all__ = [
    "LEAD_TABLES",
    "CabinetLead",
    "CabinetPayment",
    "ConfidenceLevel",
    "DailyTrips",
    "DecidedBy",
    "Driver",
    "DriverIndexEntry",
    "LeadEvent",
    "Link",
    "ManualLead",
    "MigrationRecord",
    "Origin",
    "OriginChange",
    "OriginTag",
    "Person",
    "ReasonCode",
    "Refusal",
    "ResolutionStatus",
    "ScoutListEntry",
    "ScoutingRegistration",
    "SourceTable",
    "Unmatched",
    "UnmatchedStatus",
]
