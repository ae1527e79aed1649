-- Drivers of R3b who got their link in this round: what R3b says of them counts from now on.
update match_drivers as drivers set is_linked = true
from decisions
where drivers.is_r3b and not drivers.is_linked and decisions.driver_id = drivers.driver_id
