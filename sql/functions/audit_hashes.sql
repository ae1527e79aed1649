-- ops.audit_hashes
-- What is sealed of every entry of the audit log: a hash of the whole entry (reliability I8). The columns are named, so
-- that a further one does not change what was sealed before it. The planner looks through it, as through a view.
create or replace function ops.audit_hashes() returns table (id bigint, run_id integer, row_hash bytea)
language sql stable parallel safe
as $$
    select
        entries.id,
        entries.run_id,
        int8send(hash_record_extended(
            row(
                entries.id, entries.at, entries.run_id, entries.actor, entries.action, entries.reason,
                entries.subject_table, entries.subject_key, entries.person_key, entries.before, entries.after
            ), 0
        ))
    from ops.audit_log as entries
$$;
