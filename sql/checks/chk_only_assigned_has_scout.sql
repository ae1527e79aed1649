-- chk_only_assigned_has_scout
-- The ledger gives a person a scout though its decision is conflict or unassigned (domain.md 6.2): somebody wrote
-- past the job and the screens.
-- Remedy: find out who wrote it in the audit log; take that run back, or decide the person through its screen.
select
    ledger.person_key::text as subject,
    ledger.decision_status || ', and has scout ' || ledger.attributed_scout_id as problem
from observational.lead_ledger as ledger
where ledger.attributed_scout_id is not null and ledger.decision_status <> 'assigned';
