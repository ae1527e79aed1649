-- Leads in question whose person gets another lead by this run: they go along with that lead, for two chunks must not
-- share a person.
create temp table recovery_companions on commit drop as
select scope.person_key, array_agg(scope.lead_id order by scope.lead_id collate "C") as lead_ids
from recovery_scope as scope
where scope.kind = 'origin' and scope.person_key in (select decisions.person_key from decisions)
group by scope.person_key;
create index on recovery_companions (person_key);
analyze recovery_companions
