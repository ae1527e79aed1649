-- Roll-back of a run: what is derived from the rows that were put back follows them (table undo, kept is null).
-- The event stays, for the lead did come in: its person is the person of the record's link (domain.md 6.1).
-- An open record is tried again by the next run, also when what was refused for it changed. Every change of an origin
-- has its line in the history.
with records as (
    select
        coalesce(undo.after, undo.before) ->> 'source_table' as source_table,
        coalesce(undo.after, undo.before) ->> 'source_pk' as source_pk
    from undo
    where undo.subject_table = 'identity_links' and undo.kept is null
),

events_followed as (
    update observational.lead_events as events
    set person_key = links.person_key,
        payload_json = events.payload_json || jsonb_build_object(
            'matched_by', canon.matched_by(links.match_rule),
            'match_rule', links.match_rule,
            'match_score', links.match_score
        )
    from records
    left join canon.identity_links as links -- 1 record : 0..1 links
        on links.source_table = records.source_table and links.source_pk = records.source_pk
    where events.source_table = records.source_table and events.source_pk = records.source_pk
    returning 1
),

tried_again as (
    update canon.identity_unmatched as unmatched
    set is_stale = true
    from undo
    where undo.subject_table = 'identity_unmatched' and undo.kept is null and undo.before ->> 'status' = 'OPEN'
        and unmatched.id = undo.subject_key::integer
    returning 1
),

refusals_changed as (
    update canon.identity_unmatched as unmatched
    set is_stale = true
    from undo
    where undo.subject_table = 'identity_refusals' and undo.kept is null and unmatched.status = 'OPEN'
        and unmatched.source_table = coalesce(undo.after, undo.before) ->> 'source_table'
        and unmatched.source_pk = coalesce(undo.after, undo.before) ->> 'source_pk'
    returning 1
)

insert into canon.identity_origin_history (
    person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
    origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
    ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
)
select
    undo.person_key, old.origin_tag, new.origin_tag, old.origin_source_id, new.origin_source_id,
    old.origin_confidence, new.origin_confidence, old.resolution_status, new.resolution_status,
    old.ruleset_version, new.ruleset_version, %(actor)s, 'rolled back', %(run_id)s
from undo
cross join lateral jsonb_populate_record(null::canon.identity_origin, undo.after) as old
cross join lateral jsonb_populate_record(null::canon.identity_origin, undo.before) as new
where undo.subject_table = 'identity_origin' and undo.kept is null
