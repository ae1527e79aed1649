-- The decision of a person about an origin that a lead contradicts, with its history and audit (domain.md 3.5, 7.6,
-- Q34). changes is what becomes of the origin; a change that leaves it as it was has no line in the history.
with leads as (
    select links.snapshot_date
    from canon.identity_links as links
    where links.source_table = 'module_ct_cabinet_leads' and links.source_pk = %(lead_id)s
        and links.person_key = %(person_key)s
),

before as materialized (
    select origins.* from canon.identity_origin as origins where origins.person_key = %(person_key)s
),

written as (
    update canon.identity_origin as origins
    set {changes}, updated_at = statement_timestamp()
    from before, leads
    where origins.person_key = before.person_key
    returning origins.*
),

history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
        origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
        ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
    )
    select
        new.person_key, old.origin_tag, new.origin_tag, old.origin_source_id, new.origin_source_id,
        old.origin_confidence, new.origin_confidence, old.resolution_status, new.resolution_status,
        old.ruleset_version, new.ruleset_version, %(actor)s, %(reason)s, %(run_id)s
    from written as new
    inner join before as old on old.person_key = new.person_key
    where (old.origin_tag, old.origin_source_id) is distinct from (new.origin_tag, new.origin_source_id)
)

insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
select
    %(run_id)s, %(actor)s, 'decide_origin', %(reason)s, 'identity_origin', new.person_key::text, new.person_key,
    to_jsonb(old), to_jsonb(new)
from written as new
inner join before as old on old.person_key = new.person_key
