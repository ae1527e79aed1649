-- New persons get their keys, one per cluster; results that lead to several persons become ambiguous.
update match_drivers as drivers
set person_key = founded.person_key, is_new = true
from (
    select cluster, gen_random_uuid() as person_key
    from match_drivers
    where person_key is null and not is_ambiguous and may_found_person
    group by cluster
) as founded
where founded.cluster = drivers.cluster and drivers.person_key is null and not drivers.is_ambiguous
    and drivers.may_found_person;
analyze match_drivers;

update results set outcome = 'MULTIPLE_CANDIDATES'
where outcome = 'MATCH' and driver_id in (select driver_id from match_drivers where is_ambiguous)
