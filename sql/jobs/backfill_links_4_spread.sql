-- One step of spreading the smallest number over rows who are one human; repeated until still.
update clusters
set cluster = nearest.cluster
from (
    select edges.one, min(neighbours.cluster) as cluster
    from edges
    inner join clusters as neighbours on neighbours.n = edges.other
    group by edges.one
) as nearest
where nearest.one = clusters.n and nearest.cluster < clusters.cluster
