"""The tables, one module for each area; `Row.metadata` is the whole schema, the same on SQLite and Postgres.

Rows are records: no relationships, no lazy loading, no behaviour. The repositories of the slices hold all SQL.
Conventions: keys are UUID version 7 (`storage.ids`), every row but a user's carries its organisation, instants are UTC,
money is in millionths of a US dollar.
"""

from voice_agent.storage.tables.agents import AgentRow, AgentVersionRow, PhoneNumberRow
from voice_agent.storage.tables.calls import (
    CallRow,
    CarrierEventRow,
    ConversationEventRow,
    RecordingRow,
    SpendRow,
    TranscriptEntryRow,
    TurnLatencyRow,
)
from voice_agent.storage.tables.columns import Row
from voice_agent.storage.tables.compliance import ConsentRow, NumberKeyRow, RegistryCheckRow, SuppressionRow
from voice_agent.storage.tables.contacts import (
    ChangeSetRow,
    ContactChangeRow,
    ContactListRow,
    ContactPhoneRow,
    ContactRow,
    ContactTagRow,
    CustomFieldRow,
    ImportBatchRow,
    ImportRow,
    ImportRowErrorRow,
    ImportTemplateRow,
    ListMemberRow,
    TagRow,
)
from voice_agent.storage.tables.identity import (
    ApiKeyRow,
    AuditRow,
    MembershipRow,
    OrganisationRow,
    RefreshTokenRow,
    UserRow,
)
from voice_agent.storage.tables.processes import IdempotencyRow, JobRow, PeriodicRow, WorkerRow

__all__ = [
    "AgentRow",
    "AgentVersionRow",
    "ApiKeyRow",
    "AuditRow",
    "CallRow",
    "CarrierEventRow",
    "ChangeSetRow",
    "ConsentRow",
    "ContactChangeRow",
    "ContactListRow",
    "ContactPhoneRow",
    "ContactRow",
    "ContactTagRow",
    "ConversationEventRow",
    "CustomFieldRow",
    "IdempotencyRow",
    "ImportBatchRow",
    "ImportRow",
    "ImportRowErrorRow",
    "ImportTemplateRow",
    "JobRow",
    "ListMemberRow",
    "MembershipRow",
    "NumberKeyRow",
    "OrganisationRow",
    "PeriodicRow",
    "PhoneNumberRow",
    "RecordingRow",
    "RefreshTokenRow",
    "RegistryCheckRow",
    "Row",
    "SpendRow",
    "SuppressionRow",
    "TagRow",
    "TranscriptEntryRow",
    "TurnLatencyRow",
    "UserRow",
    "WorkerRow",
]
