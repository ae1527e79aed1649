-- New drivers who are the same person share the key of the first of them; results that lead to several persons
-- become ambiguous.
update match_drivers as drivers
set person_key = founders.person_key
from match_drivers as founders
where drivers.cluster <> drivers.driver_id and founders.driver_id = drivers.cluster;

update results set outcome = 'MULTIPLE_CANDIDATES'
where outcome = 'MATCH' and driver_id in (select driver_id from match_drivers where is_ambiguous);

-- A driver who turns out to be a refused person, or the same person as a refused driver, is no candidate either.
update results set outcome = 'NO_CANDIDATES', driver_id = null
from match_drivers as known, (
    select refused_persons.n, refused_persons.person_key
    from refused_persons
    where refused_persons.person_key is not null
    union
    select refused.n, others.person_key
    from refused
    inner join match_drivers as others on others.driver_id = refused.driver_id -- 1 : 0..1
) as never
where results.outcome = 'MATCH' and known.driver_id = results.driver_id
    and never.n = results.n and never.person_key = known.person_key
