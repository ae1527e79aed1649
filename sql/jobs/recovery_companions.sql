-- Leads whose person gets another lead by this run: they go along with that lead, for it sets the origin of all of
-- them, and two chunks must not share a person.
create temp table recovery_companions on commit drop as
select standing.person_key, array_agg(standing.lead_id order by standing.lead_id collate "C") as lead_ids
from recovery_standing as standing
where standing.cause is not null and standing.kind = 'origin'
    and standing.person_key in (select decisions.person_key from decisions)
group by standing.person_key;
create index on recovery_companions (person_key);
analyze recovery_companions
