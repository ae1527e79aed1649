-- Writes down a cabinet lead that was never delivered, with its audit (domain.md 9.4): decided by a person, for the
-- driver of one case.
with written as (
    insert into canon.manual_leads as leads (id, lead_date, full_name, phone, plate, scout_id)
    values (%(id)s, %(lead_date)s, %(full_name)s, %(phone)s, %(plate)s, %(scout_id)s)
    returning *
),

audited as (
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'create_lead', %(reason)s, 'manual_leads', written.id::text, %(person_key)s, null,
        to_jsonb(written)
    from written
    returning 1
)

select jsonb_build_object('leads', (select count(*) from written), 'audit', (select count(*) from audited))
