-- chk_quarantine_explains_itself
-- A row of the quarantine lacks its evidence, or its status is not the last one of its history (domain.md 9.5, 9.8,
-- I4): it was written or changed past the job and the screens.
-- Remedy: find out who wrote it; put it right through its screen, which writes evidence and history.
with last_changes as (
    select distinct on (changes.driver_id) changes.driver_id, changes.status_new -- per driver the last
    from canon.driver_orphan_quarantine_history as changes
    order by changes.driver_id, changes.id desc
)

select
    'drivers ' || quarantine.driver_id as subject,
    case
        when coalesce(quarantine.evidence_json, '{}') = '{}' then 'no evidence'
        when last_changes.driver_id is null then 'no history'
        else 'its history ends elsewhere'
    end as problem
from canon.driver_orphan_quarantine as quarantine
left join last_changes on last_changes.driver_id = quarantine.driver_id -- 1 : 0..1
where coalesce(quarantine.evidence_json, '{}') = '{}' or last_changes.status_new is distinct from quarantine.status;
