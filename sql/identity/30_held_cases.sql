-- ops.held_cases
-- Open cases that a person holds: a proposal about them waits for a second person, or somebody looks at them right now.
-- Jobs leave their subjects alone until they are free (reliability F21, F22).
-- Grain: one row per kind, subject_key.
-- Read by: the jobs that apply plans.
select cases.kind, cases.subject_key, cases.person_key, cases.driver_id
from ops.review_cases as cases
where cases.status = 'OPEN' and (cases.is_frozen or cases.leased_until > now())
