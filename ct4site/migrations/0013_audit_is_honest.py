from django.db import migrations

# Who and when of an audit entry are not the writer's to choose (reliability F14): an entry is of the moment of its
# statement, and of the actor of its run or, without a run, of the one named for the transaction. Asked once per
# statement and per actor in it, because statements write up to 100 000 entries. Its search path is its own: whoever may
# create a function could else put a clock of theirs before the real one. And a run keeps its actor.
GUARD = """
create function ops.refuse_forged_entry() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if exists (
        select 1
        from (
            select written.run_id, written.actor, bool_and(written.at = statement_timestamp()) as is_of_now
            from written
            group by written.run_id, written.actor
        ) as writers
        left join ops.ingestion_runs as runs on runs.id = writers.run_id
        where not writers.is_of_now
            or writers.actor is distinct from case
                when writers.run_id is null then current_setting('ct4.actor', true) else runs.actor
            end
    ) then
        raise exception 'ops.audit_log names who and when as they are: another actor or time is refused'
            using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;
create trigger audit_log_is_honest after insert on ops.audit_log
    referencing new table as written for each statement execute function ops.refuse_forged_entry();
alter table ops.audit_log enable always trigger audit_log_is_honest;

create function ops.refuse_another_actor() returns trigger language plpgsql as $$
begin
    raise exception 'ops.ingestion_runs keeps who started a run: % is refused', tg_op
        using errcode = 'insufficient_privilege';
end
$$;
create trigger run_keeps_its_actor before update of id, actor on ops.ingestion_runs
    for each row when ((old.id, old.actor) is distinct from (new.id, new.actor))
    execute function ops.refuse_another_actor();
alter table ops.ingestion_runs enable always trigger run_keeps_its_actor
"""
UNGUARD = """
drop trigger run_keeps_its_actor on ops.ingestion_runs;
drop function ops.refuse_another_actor();
drop trigger audit_log_is_honest on ops.audit_log;
drop function ops.refuse_forged_entry()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("ct4site", "0012_audit_seals"),
    ]

    operations = [
        migrations.RunSQL(GUARD, UNGUARD),
    ]
