-- The payment ledger of collection: a row where the partner's list says something else than it last said of the same
-- place, so that true, false, true is three rows; then how the list stands, each place with the driver it is taken for
-- (domain.md 12.3). A name counts only while exactly one driver has it; whom a payment was taken for once stays.
create temp table told on commit drop as
select flags.* from ops.yango_payment_flags as flags;
analyze told (source_pk, milestone_value, driver_name_normalized);

create temp table latest on commit drop as
select distinct on (ledger.source_pk, ledger.milestone_value) ledger.* -- of a place the last
from ops.yango_payment_status_ledger as ledger
order by ledger.source_pk, ledger.milestone_value, ledger.id desc;
analyze latest (source_pk, milestone_value);

-- Drivers by name key, of the keys in question only: the key of canon.name_key, of the words the index keeps.
create temp table bearers on commit drop as
select
    named.name_key,
    min(named.driver_id) as driver_id
from (
    select
        drivers.driver_id,
        (select string_agg(word, ' ' order by word collate "C") from unnest(drivers.name_tokens) as word) as name_key
    from canon.drivers_index as drivers
    where drivers.vanished_at is null
) as named
where named.name_key in (
        select told.driver_name_normalized from told
        union
        select latest.driver_name_normalized from latest
    )
group by named.name_key
having count(*) = 1;
analyze bearers (name_key);

create temp table seen on commit drop as
select
    told.*,
    coalesce(told.driver_id, bearers.driver_id) as seen_driver_id,
    case
        when told.driver_id is not null then 'driver_id_direct'
        when bearers.driver_id is not null then 'driver_name_unique'
        else 'none'
    end as seen_rule
from told
left join bearers on bearers.name_key = told.driver_name_normalized; -- 1 : 0..1

create temp table added on commit drop as
with rows as (
    insert into ops.yango_payment_status_ledger (
        source_table, source_pk, pay_date, pay_time, raw_driver_name, driver_name_normalized, milestone_type,
        milestone_value, is_paid, paid_flag_source, driver_id, person_key, match_rule, match_confidence, payment_key,
        state_hash
    )
    select
        seen.source_table, seen.source_pk, seen.pay_date, seen.pay_time, seen.raw_driver_name,
        seen.driver_name_normalized, 'trips', seen.milestone_value, seen.is_paid, seen.paid_flag_source,
        seen.seen_driver_id, coalesce(persons.person_key, links.person_key), seen.seen_rule,
        case seen.seen_rule
            when 'driver_id_direct' then 'high' when 'driver_name_unique' then 'medium' else 'unknown'
        end,
        seen.payment_key, seen.state_hash
    from seen
    left join latest on latest.source_pk = seen.source_pk and latest.milestone_value = seen.milestone_value
    left join canon.identity_registry as persons on persons.person_key = seen.person_key
    left join canon.identity_links as links
        on links.source_table = 'drivers' and links.source_pk = seen.seen_driver_id
    where (latest.payment_key, latest.state_hash) is distinct from (seen.payment_key, seen.state_hash)
    order by seen.source_pk, seen.milestone_value
    returning *
)

select * from rows;

create temp table fresh on commit drop as
with standing as (
    select latest.* from latest
    where not exists (
            select 1 from added
            where added.source_pk = latest.source_pk and added.milestone_value = latest.milestone_value
        )
    union all
    select added.* from added
),

-- What stands is matched, also where the list says nothing of it any more.
owned as (
    select
        standing.id,
        standing.payment_key,
        standing.source_pk,
        standing.pay_date,
        standing.milestone_value,
        standing.is_paid,
        standing.driver_name_normalized,
        coalesce(payments.driver_id, standing.driver_id, bearers.driver_id) as driver_id,
        standing.person_key,
        payments.driver_id is not null or standing.match_rule = 'driver_id_direct' as is_told,
        persons.person_key as told_person_key
    from standing
    left join ops.stg_cabinet_payments as payments on payments.source_pk = standing.source_pk
    left join bearers on bearers.name_key = standing.driver_name_normalized
    left join canon.identity_registry as persons on persons.person_key = payments.person_key
)

select
    owned.id as ledger_id,
    owned.payment_key,
    owned.source_pk,
    owned.pay_date,
    owned.milestone_value,
    owned.is_paid,
    owned.driver_id,
    -- The driver's person of today goes before the one of the time it was paid.
    coalesce(owned.told_person_key, links.person_key, owned.person_key) as person_key,
    case
        when owned.is_told then 'confirmed'
        when owned.driver_id is not null then 'enriched'
        when owned.driver_name_normalized is not null then 'ambiguous'
        else 'no_match'
    end as identity_status,
    case
        when owned.is_told then 'source_upstream'
        when owned.driver_id is not null then 'name_unique'
        when owned.driver_name_normalized is not null then 'ambiguous'
        else 'no_match'
    end as match_rule,
    case when owned.is_told then 'high' when owned.driver_id is not null then 'medium' else 'low' end
        as match_confidence,
    owned.is_paid and owned.driver_id is not null and row_number() over (
        partition by owned.driver_id, owned.milestone_value, owned.is_paid
        order by owned.pay_date desc nulls last, length(owned.source_pk) desc, owned.source_pk collate "C" desc
    ) = 1 as is_newest_paid
from owned
left join canon.identity_links as links on links.source_table = 'drivers' and links.source_pk = owned.driver_id;
create index on fresh (payment_key);
analyze fresh (payment_key);

with gone as (
    delete from ops.yango_payment_states as states
    where not exists (select 1 from fresh where fresh.payment_key = states.payment_key)
    returning 1
),

written as (
    insert into ops.yango_payment_states as states (
        payment_key, ledger_id, source_pk, pay_date, milestone_value, is_paid, driver_id, person_key, identity_status,
        match_rule, match_confidence, is_newest_paid
    )
    select
        payment_key, ledger_id, source_pk, pay_date, milestone_value, is_paid, driver_id, person_key, identity_status,
        match_rule, match_confidence, is_newest_paid
    from fresh
    on conflict (payment_key) do update set
        ledger_id = excluded.ledger_id,
        source_pk = excluded.source_pk,
        pay_date = excluded.pay_date,
        milestone_value = excluded.milestone_value,
        is_paid = excluded.is_paid,
        driver_id = excluded.driver_id,
        person_key = excluded.person_key,
        identity_status = excluded.identity_status,
        match_rule = excluded.match_rule,
        match_confidence = excluded.match_confidence,
        is_newest_paid = excluded.is_newest_paid
    where (
        states.ledger_id, states.source_pk, states.pay_date, states.milestone_value, states.is_paid, states.driver_id,
        states.person_key, states.identity_status, states.match_rule, states.match_confidence, states.is_newest_paid
    ) is distinct from (
        excluded.ledger_id, excluded.source_pk, excluded.pay_date, excluded.milestone_value, excluded.is_paid,
        excluded.driver_id, excluded.person_key, excluded.identity_status, excluded.match_rule,
        excluded.match_confidence, excluded.is_newest_paid
    )
    returning 1
)

select jsonb_build_object(
    'payment_flags_read', (select count(*) from told),
    'payment_states_added', (select count(*) from added),
    'payments_with_driver', (select count(*) from fresh where driver_id is not null),
    'payments_changed', (select count(*) from written) + (select count(*) from gone)
)
