-- chk_settlement_blocked_gets_nothing
-- Closing the settlement period now would write a line for a person for whom nothing may be settled (Q13, Q79), or for
-- an account in quarantine.
-- Remedy: none by hand; what is due reads past a block, report the person. Do not close the period before.
with due as materialized (
    select lines.person_key, lines.driver_id, lines.scout_id, lines.current_scout_id, lines.amount
    from ops.v_settlement_due as lines
),

blocked as (
    select persons.person_key, 'NO_IDENTITY' as reason
    from canon.identity_registry as persons
    where not exists (select 1 from canon.identity_links as links where links.person_key = persons.person_key)
    union all
    select scouts.person_key, 'CONFLICT' from ops.person_scouts as scouts where scouts.has_open_conflict
    union all
    select pairs.person_a_id, 'POSSIBLE_SAME_PERSON'
    from canon.possible_same_persons as pairs
    where pairs.status = 'open'
    union all
    select pairs.person_b_id, 'POSSIBLE_SAME_PERSON'
    from canon.possible_same_persons as pairs
    where pairs.status = 'open'
)

select
    due.person_key::text as subject,
    due.amount || ' for scout ' || due.scout_id || ', and ' || blocked.reason as problem
from due
inner join blocked on blocked.person_key = due.person_key -- 1 : n reasons
union all
select due.person_key::text, due.amount || ' for scout ' || due.scout_id || ', and NO_SCOUT'
from due
where due.current_scout_id is null
union all
select due.person_key::text, due.amount || ' for scout ' || due.scout_id || ', and QUARANTINED'
from due
inner join canon.driver_orphan_quarantine as quarantine on quarantine.driver_id = due.driver_id -- 1 : 0..1
where quarantine.status in ('quarantined', 'purged');
