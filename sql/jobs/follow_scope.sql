-- Whom and what a decision about some persons concerns, as keys by which every table that attribution derives from or
-- writes is reached through an index: one JSON object of arrays. Persons stay together who share a lead or an account,
-- one of them as it is now and the other as it is stored, because what is derived for the one depends on the other.
with recursive concerned as (
    select given.person_key from unnest(%(given)s::uuid[]) as given (person_key)
    union
    select beside.person_key
    from concerned
    cross join lateral (
        select trips.person_key
        from canon.identity_links as links
        inner join observational.lead_trips as trips
            on trips.source_table = links.source_table and trips.source_pk = links.source_pk
        where links.person_key = concerned.person_key
        union all
        select links.person_key
        from observational.lead_trips as trips
        inner join canon.identity_links as links
            on links.source_table = trips.source_table and links.source_pk = trips.source_pk
        where trips.person_key = concerned.person_key
        union all
        select trips.person_key
        from canon.identity_links as links
        inner join observational.lead_trips as trips on trips.driver_id = links.source_pk
        where links.person_key = concerned.person_key and links.source_table = 'drivers'
        union all
        select links.person_key
        from observational.lead_trips as trips
        inner join canon.identity_links as links
            on links.source_table = 'drivers' and links.source_pk = trips.driver_id
        where trips.person_key = concerned.person_key
        union all
        -- What stays settled for one person is not settled again for the next whose account it is.
        select stated.person_key
        from canon.identity_links as links
        inner join ops.scout_statements as stated on stated.driver_id = links.source_pk
        where links.person_key = concerned.person_key and links.source_table = 'drivers'
        union all
        select links.person_key
        from ops.scout_statements as stated
        inner join canon.identity_links as links
            on links.source_table = 'drivers' and links.source_pk = stated.driver_id
        where stated.person_key = concerned.person_key
    ) as beside
    where beside.person_key is not null
),

persons as materialized (
    select array_agg(concerned.person_key order by concerned.person_key) as keys from concerned
),

records as materialized (
    select links.source_table, links.source_pk, null::integer as row_id
    from canon.identity_links as links
    where links.person_key = any((select persons.keys from persons)::uuid[]) and links.source_table <> 'drivers'
    union
    select trips.source_table, trips.source_pk, trips.lead_row_id
    from observational.lead_trips as trips
    where trips.person_key = any((select persons.keys from persons)::uuid[])
),

accounts as materialized (
    select links.source_pk as driver_id
    from canon.identity_links as links
    where links.person_key = any((select persons.keys from persons)::uuid[]) and links.source_table = 'drivers'
    union
    select trips.driver_id
    from observational.lead_trips as trips
    where trips.person_key = any((select persons.keys from persons)::uuid[]) and trips.driver_id is not null
    union
    select claims.driver_id
    from canon.claims_yango_cabinet_14d as claims
    where claims.person_key = any((select persons.keys from persons)::uuid[]) and claims.driver_id is not null
    union
    select settled.driver_id
    from ops.settlement_lines as settled
    where settled.person_key = any((select persons.keys from persons)::uuid[]) and settled.driver_id is not null
    union
    select paid.driver_id
    from ops.scout_liquidation_ledger as paid
    where paid.person_key = any((select persons.keys from persons)::uuid[]) and paid.driver_id is not null
),

-- Accounts that are nobody else's by now: what they reached is known from the records above.
own as materialized (
    select accounts.driver_id
    from accounts
    where not exists (
            select 1 from canon.identity_links as links
            where links.source_table = 'drivers' and links.source_pk = accounts.driver_id
                and links.person_key <> all((select persons.keys from persons)::uuid[])
        )
),

payments as materialized (
    select states.source_pk, ledger.driver_name_normalized as name_key
    from own
    inner join ops.yango_payment_states as states on states.driver_id = own.driver_id
    inner join ops.yango_payment_status_ledger as ledger on ledger.id = states.ledger_id
),

-- A record is found in its feed by number or, a cabinet lead, by external id as its event has it; a lead that goes by
-- its number is told apart from one whose external id that is.
numbers as (
    select
        records.source_table,
        coalesce(records.row_id, substring(records.source_pk from '^(?:row:)?([0-9]{{1,10}})$')::bigint) as number
    from records
),

names as (
    select records.source_pk as external_id from records where records.source_table = 'module_ct_cabinet_leads'
    union
    select numbers.number::text from numbers where numbers.source_table = 'module_ct_cabinet_leads'
    union
    select events.payload_json ->> 'external_id'
    from records
    inner join observational.lead_events as events
        on events.source_table = records.source_table and events.source_pk = records.source_pk
    where records.source_table = 'module_ct_cabinet_leads'
)

select jsonb_build_object(
    'persons', (select persons.keys from persons),
    'tables', (select array_agg(records.source_table order by records.source_table, records.source_pk) from records),
    'keys', (select array_agg(records.source_pk order by records.source_table, records.source_pk) from records),
    'leads', (
        select array_agg(distinct numbers.number) from numbers
        where numbers.source_table = 'module_ct_cabinet_leads' and numbers.number is not null
    ),
    'external_ids', (select array_agg(names.external_id) from names where names.external_id <> ''),
    'migrations', (
        select array_agg(distinct numbers.number) from numbers
        where numbers.source_table = 'module_ct_migrations' and numbers.number is not null
    ),
    'registrations', (
        select array_agg(distinct numbers.number) from numbers
        where numbers.source_table = 'module_ct_scouting_daily' and numbers.number is not null
    ),
    'accounts', (select array_agg(accounts.driver_id order by accounts.driver_id) from accounts),
    'drivers', (select array_agg(own.driver_id order by own.driver_id) from own),
    'spellings', (
        select array_agg(spelled.driver_id)
        from own
        cross join lateral (values (own.driver_id), (upper(own.driver_id))) as spelled (driver_id)
    ),
    'payments', (select array_agg(distinct payments.source_pk) from payments),
    'namesakes', (
        select array_agg(distinct drivers.driver_id)
        from payments
        inner join canon.drivers_index as drivers
            on drivers.name_tokens @> string_to_array(nullif(payments.name_key, ''), ' ')
    )
)
