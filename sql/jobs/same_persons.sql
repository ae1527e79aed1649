-- Raises persons who are probably one human: two scouts claim them within the conflict window under similar names,
-- with the same plate, or a phone or licence that is equal or one slip off; or under one name of three words, when one
-- of the two has neither phone nor licence and no plate tells them apart (Q79). Names and keys of a claim are its own
-- and those of the person's driver accounts. Two keys of nine characters within one slip of each other have the same
-- first five, the same last five, or the same first and last three, so only claims that share one of these parts are
-- compared. What a crowd shares is nobody's own and compares nobody. Closes suspicions that no longer hold; what a
-- person decided stays (P7). Returns the counts.

create temp table scout_claims on commit drop as
select
    row_number() over () as n, events.person_key, events.scout_id, events.source_table, events.source_pk,
    events.event_date, events.phone_norm, events.license_norm, canon.name_tokens(leads.name_norm) as tokens
from observational.scout_events as events
inner join observational.lead_events as leads on leads.id = events.event_id
where events.kind in ('scouting', 'fleet_migration') and events.person_key is not null and events.scout_id is not null
    and leads.name_norm is not null;
create index on scout_claims (n);
analyze scout_claims (n, person_key);

create temp table claim_accounts on commit drop as
select
    claims.n, drivers.plate_norm, drivers.name_tokens as tokens,
    -- An account mostly repeats the keys of its registration.
    case when not drivers.phone_is_weak then nullif(drivers.phone_norm, claims.phone_norm) end as phone_norm,
    case when drivers.license_is_clean then nullif(drivers.license_norm, claims.license_norm) end as license_norm
from scout_claims as claims
inner join canon.identity_links as links
    on links.person_key = claims.person_key and links.source_table = 'drivers' -- 1 claim : n accounts
inner join canon.drivers_index as drivers on drivers.driver_id = links.source_pk;
create index on claim_accounts (n);
analyze claim_accounts (n);

create temp table claim_keys on commit drop as
select claims.n, keys.kind, keys.key, claims.person_key, claims.scout_id, claims.event_date
from scout_claims as claims
cross join lateral (values ('phone', claims.phone_norm), ('license', claims.license_norm)) as keys (kind, key)
where keys.key is not null
union all
select claims.n, keys.kind, keys.key, claims.person_key, claims.scout_id, claims.event_date
from claim_accounts as accounts
inner join scout_claims as claims on claims.n = accounts.n
cross join lateral (
    values ('phone', accounts.phone_norm), ('license', accounts.license_norm), ('plate', accounts.plate_norm)
) as keys (kind, key)
where keys.key is not null;
create index on claim_keys (n);
analyze claim_keys (n, kind, key);

create temp table claim_parts on commit drop as
select keys.*, hashtextextended(keys.kind || parts.part, 0) as part
from claim_keys as keys
cross join lateral (
    values
    ('<' || left(keys.key, 5)), ('>' || right(keys.key, 5)), (left(keys.key, 3) || '-' || right(keys.key, 3))
) as parts (part)
where not exists (
        select 1
        from (select kind, key from claim_keys group by kind, key having count(*) > 30) as crowds
        where crowds.kind = keys.kind and crowds.key = keys.key
    );
analyze claim_parts (part);

create temp table suspicions on commit drop as
with keyless as materialized (
    select claims.n, claims.person_key, claims.scout_id, claims.event_date, word.word
    from scout_claims as claims
    cross join lateral (
        select unnest(claims.tokens)
        union -- a registration and its account say mostly the same
        select unnest(accounts.tokens) from claim_accounts as accounts where accounts.n = claims.n
    ) as word (word)
    where not exists (
            select 1 from claim_keys as keys where keys.n = claims.n and keys.kind in ('phone', 'license')
        )
),

words as materialized (
    select names.n, word.word
    from (
        select n, tokens from scout_claims
        union all
        select n, tokens from claim_accounts
    ) as names
    cross join lateral unnest(names.tokens) as word (word)
    where word.word in (select keyless.word from keyless)
),

-- Pairs of claims that two scouts make on two persons in time, by a key or by three words.
pairs as materialized (
    select ours.n as ours, theirs.n as theirs, ours.kind
    from (select part from claim_parts group by part having count(*) between 2 and 500) as shared
    inner join claim_parts as ours on ours.part = shared.part
    inner join claim_parts as theirs on theirs.part = shared.part and theirs.kind = ours.kind and theirs.n > ours.n
    where ours.person_key <> theirs.person_key and ours.scout_id <> theirs.scout_id
        and abs(ours.event_date - theirs.event_date) <= %(window)s
        and canon.within_one_slip(ours.key, theirs.key)
    union -- two claims may share several parts
    select ours.n, theirs.n, 'name'
    from keyless as ours
    inner join words on words.word = ours.word
    inner join scout_claims as theirs on theirs.n = words.n
    where ours.person_key <> theirs.person_key and ours.scout_id <> theirs.scout_id
        and abs(ours.event_date - theirs.event_date) <= %(window)s
    group by ours.n, theirs.n
    having count(distinct words.word) >= 3
        and not exists (
            select 1
            from claim_keys as our_key
            inner join claim_keys as their_key on their_key.kind = our_key.kind
            where our_key.n = ours.n and their_key.n = theirs.n
        )
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
    from pairs
    inner join scout_claims as ours on ours.n = pairs.ours
    inner join scout_claims as theirs on theirs.n = pairs.theirs
    cross join lateral (
        select max(canon.name_likeness(one.tokens, other.tokens)) as likeness
        from (
            select ours.tokens
            union all
            select accounts.tokens from claim_accounts as accounts where accounts.n = ours.n
        ) as one
        cross join (
            select theirs.tokens
            union all
            select accounts.tokens from claim_accounts as accounts where accounts.n = theirs.n
        ) as other
    ) as alike
    where alike.likeness >= case pairs.kind when 'name' then 1 else %(threshold)s end
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
