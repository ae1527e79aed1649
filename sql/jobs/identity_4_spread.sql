-- One step of spreading the smallest driver_id over drivers who are the same new person; repeated until still.
update match_drivers as drivers
set cluster = nearest.cluster
from (
    select driver_edges.one, min(neighbours.cluster collate "C") as cluster
    from driver_edges
    inner join match_drivers as neighbours on neighbours.driver_id = driver_edges.other
    group by driver_edges.one
) as nearest
where nearest.one = drivers.driver_id and nearest.cluster collate "C" < drivers.cluster
