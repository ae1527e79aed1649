-- What becomes of every line of a mapping file, in the temporary table scout_mapping (Q28): one scout per key. A key
-- with two scouts in the file, or with another one in the database, is turned away, never overwritten.
with keys as (
    select
        source_key,
        min(scout_id) <> max(scout_id) as has_several,
        max(line) as last_line
    from scout_mapping
    group by source_key
)

update scout_mapping as rows
set outcome = case
        when keys.has_several then 'conflict'
        when stored.scout_id <> rows.scout_id then 'taken'
        when rows.line < keys.last_line then 'superseded'
        when stored.scout_id is not null then 'unchanged'
        else 'inserted'
    end,
    other_scout_id = stored.scout_id
from keys
left join ops.lead_scout_mapping as stored on stored.source_key = keys.source_key
where keys.source_key = rows.source_key
