-- New drivers who are the same person share the key of the first of them; results that lead to several persons
-- become ambiguous.
update match_drivers as drivers
set person_key = founders.person_key
from match_drivers as founders
where drivers.cluster <> drivers.driver_id and founders.driver_id = drivers.cluster;

update results set outcome = 'MULTIPLE_CANDIDATES'
where outcome = 'MATCH' and driver_id in (select driver_id from match_drivers where is_ambiguous)
