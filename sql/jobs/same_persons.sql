-- Raises persons who are probably one human: two scouts registered them within the conflict window under similar
-- names, with the same plate, or a phone or licence that is equal or one character off (Q79). Two strings within one
-- edit of each other share what is left when at most one character is dropped, so only rows that share such a rest are
-- compared; a rest that many rows share is nobody's own and compares nobody. Closes suspicions that no longer hold;
-- what a person decided stays (P7). Returns the counts.

create temp table scout_claims on commit drop as
select
    row_number() over () as n, events.person_key, events.scout_id, events.source_table, events.source_pk,
    events.event_date, events.phone_norm, events.license_norm, canon.name_tokens(leads.name_norm) as tokens
from observational.scout_events as events
inner join observational.lead_events as leads on leads.id = events.event_id
where events.kind = 'scouting' and events.person_key is not null and events.scout_id is not null
    and leads.name_norm is not null;
create index on scout_claims (n);
analyze scout_claims;

create temp table claim_rests on commit drop as
with rests as (
    select
        claims.n, 'phone' as kind,
        overlay(claims.phone_norm placing '' from greatest(place, 1) for (place > 0)::integer) as rest
    from scout_claims as claims
    cross join lateral generate_series(0, length(claims.phone_norm)) as place
    union -- of doubled characters two places leave one rest
    select
        claims.n, 'license', overlay(claims.license_norm placing '' from greatest(place, 1) for (place > 0)::integer)
    from scout_claims as claims
    cross join lateral generate_series(0, length(claims.license_norm)) as place
    union
    select claims.n, 'plate', drivers.plate_norm
    from scout_claims as claims
    inner join canon.identity_links as links
        on links.person_key = claims.person_key and links.source_table = 'drivers'
    inner join canon.drivers_index as drivers on drivers.driver_id = links.source_pk
    where drivers.plate_norm is not null
),

own as (
    select kind, rest from rests group by kind, rest having count(*) between 2 and 30
)

select rests.* from rests inner join own on own.kind = rests.kind and own.rest = rests.rest;
create index on claim_rests (kind, rest);
analyze claim_rests;

create temp table suspicions on commit drop as
with pairs as (
    select distinct ours.n as ours, theirs.n as theirs, ours.kind -- two rows may share several rests
    from claim_rests as ours
    inner join claim_rests as theirs on theirs.kind = ours.kind and theirs.rest = ours.rest and theirs.n > ours.n
),

found as (
    select
        least(ours.person_key, theirs.person_key) as person_a,
        greatest(ours.person_key, theirs.person_key) as person_b,
        pairs.kind,
        canon.name_similarity(ours.tokens, theirs.tokens) as similarity,
        jsonb_build_array(
            jsonb_build_object(
                'source_table', ours.source_table, 'source_pk', ours.source_pk, 'scout_id', ours.scout_id,
                'date', ours.event_date
            ),
            jsonb_build_object(
                'source_table', theirs.source_table, 'source_pk', theirs.source_pk, 'scout_id', theirs.scout_id,
                'date', theirs.event_date
            )
        ) as records,
        ours.n as ours,
        theirs.n as theirs
    from pairs
    inner join scout_claims as ours on ours.n = pairs.ours
    inner join scout_claims as theirs on theirs.n = pairs.theirs
    where ours.person_key <> theirs.person_key and ours.scout_id <> theirs.scout_id
        and abs(ours.event_date - theirs.event_date) <= %(window)s
        and canon.name_similarity(ours.tokens, theirs.tokens) >= %(threshold)s
        and case pairs.kind
            when 'phone' then canon.within_one_edit(ours.phone_norm, theirs.phone_norm)
            when 'license' then canon.within_one_edit(ours.license_norm, theirs.license_norm)
            else true
        end
)

select distinct on (person_a, person_b) -- per pair the strongest
    person_a,
    person_b,
    jsonb_build_object('kind', kind, 'name_similarity', round(similarity::numeric, 4), 'records', records) as evidence
from found
order by person_a, person_b, similarity desc, kind, records::text collate "C";
analyze suspicions;

with before as materialized (
    select suspected.*, suspicions.evidence as evidence_now, suspicions.person_a is not null as holds
    from canon.possible_same_persons as suspected
    left join suspicions
        on suspicions.person_a = suspected.person_a_id and suspicions.person_b = suspected.person_b_id
    where suspected.status in ('open', 'closed')
),

raised as (
    insert into canon.possible_same_persons (person_a_id, person_b_id, evidence_json)
    select suspicions.person_a, suspicions.person_b, suspicions.evidence
    from suspicions
    where not exists (
            select 1 from canon.possible_same_persons as known
            where known.person_a_id = suspicions.person_a and known.person_b_id = suspicions.person_b
        )
    returning *
),

changed as (
    update canon.possible_same_persons as suspected
    set status = case when before.holds then 'open' else 'closed' end,
        evidence_json = case when before.holds then before.evidence_now else suspected.evidence_json end,
        updated_at = now()
    from before
    where suspected.id = before.id and before.holds = (before.status = 'closed')
    returning suspected.*
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'raise_same_person', 'possible_same_persons', raised.id::text, raised.person_a_id, null,
        to_jsonb(raised)
    from raised
    union all
    select
        %(run_id)s, %(actor)s,
        case changed.status when 'open' then 'raise_same_person' else 'close_same_person' end,
        'possible_same_persons', changed.id::text, changed.person_a_id,
        to_jsonb(before) - 'evidence_now' - 'holds', to_jsonb(changed)
    from changed
    inner join before on before.id = changed.id
    returning 1
)

select jsonb_build_object(
    'same_persons_raised',
    (select count(*) from raised) + (select count(*) from changed where changed.status = 'open'),
    'same_persons_closed', (select count(*) from changed where changed.status = 'closed'),
    'audit', (select count(*) from audited)
)
