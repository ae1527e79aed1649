-- Links that move to another person by hand, with the events of their records, in one statement with its audit: {scope}
-- says which links. The rule that made them no longer speaks for them; what it was stays in the evidence. The person
-- they leave is marked as changed, so that a reversal sees later work on either person.
with before as materialized (
    select links.*
    from canon.identity_links as links
    where {scope}
    order by links.id
    for update
),

moved as (
    update canon.identity_links as links
    set person_key = %(person_key)s::uuid,
        match_rule = 'MANUAL',
        match_score = 100,
        confidence_level = 'HIGH',
        evidence = jsonb_strip_nulls(jsonb_build_object(
            'rule', 'MANUAL',
            -- A lead keeps the driver it led to as long as that is a driver of its person.
            'driver_id', case
                when before.source_table = 'drivers' then before.source_pk
                when drivers.person_key = %(person_key)s::uuid
                    or exists (select 1 from before as along where along.id = drivers.id)
                    then before.evidence ->> 'driver_id'
            end,
            'decided_by_run', %(run_id)s,
            'moved_from', before.person_key,
            'former_rule', before.match_rule,
            'former_evidence', before.evidence
        ))
    from before
    left join canon.identity_links as drivers -- 1 : 0..1
        on drivers.source_table = 'drivers' and drivers.source_pk = before.evidence ->> 'driver_id'
    where links.id = before.id
    returning links.*
),

events_followed as (
    update observational.lead_events as events
    set person_key = moved.person_key,
        payload_json = events.payload_json || jsonb_build_object(
            'matched_by', canon.matched_by(moved.match_rule),
            'match_rule', moved.match_rule,
            'match_score', moved.match_score
        )
    from moved
    where events.source_table = moved.source_table and events.source_pk = moved.source_pk
    returning 1
),

persons_before as materialized (
    select persons.*
    from canon.identity_registry as persons
    where persons.person_key in (select before.person_key from before)
),

persons_left as (
    update canon.identity_registry as persons
    set updated_at = clock_timestamp()
    from persons_before
    where persons.person_key = persons_before.person_key
    returning persons.*
),

audited as (
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'move_link', %(reason)s, 'identity_links', moved.id::text, moved.person_key,
        to_jsonb(before), to_jsonb(moved)
    from moved
    inner join before on before.id = moved.id
    union all
    select
        %(run_id)s, %(actor)s, 'leave_person', %(reason)s, 'identity_registry', persons_left.person_key::text,
        persons_left.person_key, to_jsonb(persons_before), to_jsonb(persons_left)
    from persons_left
    inner join persons_before on persons_before.person_key = persons_left.person_key
    returning 1
)

select jsonb_build_object(
    'moved', (select count(*) from moved),
    'audit', (select count(*) from audited)
)
