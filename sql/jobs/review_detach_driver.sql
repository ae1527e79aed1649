-- Takes a driver's link away by hand, with its audit. The driver belongs to nobody then; rules may link it again.
with removed as (
    delete from canon.identity_links as links
    where links.source_table = 'drivers' and links.source_pk = %(driver_id)s
    returning links.*
)

insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
select
    %(run_id)s, %(actor)s, 'detach_driver', %(reason)s, 'identity_links', removed.id::text, removed.person_key,
    to_jsonb(removed), null
from removed
