-- Raises persons who are probably one human: two scouts registered them within the conflict window under similar
-- names, with the same plate, or a phone or licence that is equal or one character off (Q79). The names of a row are
-- the one it was registered under and those of the person's driver accounts. Two strings within one edit of each
-- other share what is left when at most one character is dropped, so only rows that share such a rest are compared;
-- a rest that many rows share is nobody's own and compares nobody. Closes suspicions that no longer hold; what a
-- person decided stays (P7). Returns the counts.

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
        claims.n, keys.kind,
        hashtextextended(
            overlay(keys.key placing '' from greatest(place, 1) for (place > 0)::integer),
            case keys.kind when 'phone' then 1 else 2 end
        ) as rest
    from scout_claims as claims
    cross join lateral (values ('phone', claims.phone_norm), ('license', claims.license_norm)) as keys (kind, key)
    cross join lateral generate_series(0, length(keys.key)) as place
    -- Of doubled characters two places leave one rest.
    where place < 2 or substr(keys.key, place, 1) <> substr(keys.key, place - 1, 1)
    union all
    select distinct claims.n, 'plate', hashtextextended(drivers.plate_norm, 3)
    from scout_claims as claims
    inner join canon.identity_links as links
        on links.person_key = claims.person_key and links.source_table = 'drivers'
    inner join canon.drivers_index as drivers on drivers.driver_id = links.source_pk
    where drivers.plate_norm is not null
),

counted as (
    select rests.*, count(*) over (partition by rests.rest) as rows_of_rest
    from rests
)

select n, kind, rest from counted where rows_of_rest between 2 and 30;
create index on claim_rests (rest);
analyze claim_rests;

create temp table driver_names on commit drop as
select links.person_key, drivers.name_tokens as tokens
from canon.identity_links as links
inner join canon.drivers_index as drivers on drivers.driver_id = links.source_pk
where links.source_table = 'drivers' and cardinality(drivers.name_tokens) > 0
    and links.person_key in (
        select claims.person_key
        from scout_claims as claims
        inner join claim_rests as rests on rests.n = claims.n
    );
create index on driver_names (person_key);
analyze driver_names;

create temp table suspicions on commit drop as
with pairs as materialized (
    select distinct ours.n as ours, theirs.n as theirs, ours.kind -- two rows may share several rests
    from claim_rests as ours
    inner join claim_rests as theirs on theirs.rest = ours.rest and theirs.n > ours.n
    inner join scout_claims as our_claim on our_claim.n = ours.n
    inner join scout_claims as their_claim on their_claim.n = theirs.n
    where our_claim.person_key <> their_claim.person_key and our_claim.scout_id <> their_claim.scout_id
        and abs(our_claim.event_date - their_claim.event_date) <= %(window)s
),

close_pairs as materialized (
    select pairs.*
    from pairs
    inner join scout_claims as ours on ours.n = pairs.ours
    inner join scout_claims as theirs on theirs.n = pairs.theirs
    where case pairs.kind
            when 'phone' then canon.within_one_edit(ours.phone_norm, theirs.phone_norm)
            when 'license' then canon.within_one_edit(ours.license_norm, theirs.license_norm)
            else true
        end
),

found as (
    select
        least(ours.person_key, theirs.person_key) as person_a,
        greatest(ours.person_key, theirs.person_key) as person_b,
        pairs.kind,
        alike.likeness,
        jsonb_build_array(
            jsonb_build_object(
                'source_table', ours.source_table, 'source_pk', ours.source_pk, 'scout_id', ours.scout_id,
                'date', ours.event_date
            ),
            jsonb_build_object(
                'source_table', theirs.source_table, 'source_pk', theirs.source_pk, 'scout_id', theirs.scout_id,
                'date', theirs.event_date
            )
        ) as records
    from close_pairs as pairs
    inner join scout_claims as ours on ours.n = pairs.ours
    inner join scout_claims as theirs on theirs.n = pairs.theirs
    cross join lateral (
        select max(canon.name_likeness(one.tokens, other.tokens)) as likeness
        from (
            select ours.tokens
            union all
            select names.tokens from driver_names as names where names.person_key = ours.person_key
        ) as one
        cross join (
            select theirs.tokens
            union all
            select names.tokens from driver_names as names where names.person_key = theirs.person_key
        ) as other
    ) as alike
    where alike.likeness >= %(threshold)s
)

select distinct on (person_a, person_b) -- per pair the strongest
    person_a,
    person_b,
    jsonb_build_object('kind', kind, 'name_likeness', round(likeness::numeric, 4), 'records', records) as evidence
from found
order by person_a, person_b, likeness desc, kind, records::text collate "C";
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
