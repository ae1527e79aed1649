-- What a roll-back left alone, and what became of rows that were left before (table undo, reliability F23). The
-- newest line of a row counts: left, put back after all, accepted by a person, or, when that was taken back, what
-- stood there before. Dry runs are rolled back, lines and all.
with newest as materialized (
    select told.*, former.outcome as former_outcome
    from ops.undo_leftovers as told
    left join lateral ( -- 1 : 0..1
        select earlier.outcome
        from ops.undo_leftovers as earlier
        where earlier.undone_run_id = told.undone_run_id and earlier.subject_table = told.subject_table
            and earlier.subject_key = told.subject_key and earlier.id < told.id
        order by earlier.id desc
        limit 1
    ) as former on true
    where (told.undone_run_id = %(run_id)s or told.run_id = %(run_id)s)
        and not exists (
            select 1 from ops.undo_leftovers as later
            where later.undone_run_id = told.undone_run_id and later.subject_table = told.subject_table
                and later.subject_key = told.subject_key and later.id > told.id
        )
)

insert into ops.undo_leftovers (run_id, undone_run_id, subject_table, subject_key, person_key, outcome)
select %(reversal_id)s, %(run_id)s, undo.subject_table, undo.subject_key, undo.person_key, undo.kept
from undo
where undo.kept <> 'already_restored'
union all
select %(reversal_id)s, newest.undone_run_id, newest.subject_table, newest.subject_key, newest.person_key, 'restored'
from newest
inner join undo on undo.subject_table = newest.subject_table and undo.subject_key = newest.subject_key
where newest.undone_run_id = %(run_id)s and newest.outcome <> 'restored'
    and (undo.kept is null or undo.kept = 'already_restored')
union all
select
    %(reversal_id)s, newest.undone_run_id, newest.subject_table, newest.subject_key, newest.person_key,
    newest.former_outcome
from newest
where newest.run_id = %(run_id)s and newest.former_outcome is not null
    and not exists (
        select 1 from undo
        where undo.subject_table = newest.subject_table and undo.subject_key = newest.subject_key
            and undo.kept is not null and undo.kept <> 'already_restored'
    )
