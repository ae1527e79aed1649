-- The person of an event is the person of its record's link, nobody without one (domain.md 6.1). {narrowed} narrows the
-- events. Returns how many changed.
with changed as (
    update observational.lead_events as events
    set person_key = stale.person_key,
        payload_json = coalesce(events.payload_json, '{{}}') || jsonb_build_object(
            'matched_by', canon.matched_by(stale.match_rule),
            'match_rule', stale.match_rule,
            'match_score', stale.match_score
        )
    from (
        select events.id, links.person_key, links.match_rule, links.match_score
        from observational.lead_events as events
        left join canon.identity_links as links -- 1 event : 0..1 links
            on links.source_table = events.source_table and links.source_pk = events.source_pk
        where events.person_key is distinct from links.person_key
            {narrowed}
    ) as stale
    where events.id = stale.id
    returning 1
)

select count(*) from changed
