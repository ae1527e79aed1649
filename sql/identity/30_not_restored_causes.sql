-- ops.not_restored_causes
-- Rows that a roll-back left alone, as long as nobody put them back or accepted them (reliability F23). Rows that
-- stayed only because another row of their person did are no question of their own.
-- Grain: one row per subject_key.
-- Read by: the refresh of cases.
select
    told.undone_run_id || ':' || told.subject_table || ':' || told.subject_key as subject_key,
    told.person_key,
    null::text as driver_id,
    told.outcome as raised_by,
    told.left_at as since,
    told.undone_run_id || '|' || told.subject_table || '|' || told.outcome as signature,
    md5(told.outcome) as cause_digest,
    told.undone_run_id,
    told.subject_table as left_table,
    told.subject_key as left_key
from ops.undo_leftovers as told
where told.outcome <> all(array['restored', 'accepted', 'kept_with_person'])
    and not exists (
        select 1 from ops.undo_leftovers as later
        where later.undone_run_id = told.undone_run_id and later.subject_table = told.subject_table
            and later.subject_key = told.subject_key and later.id > told.id
    )
