-- How some persons stand: links, ledger, scout in force, claims to the partner, money of scouts. One JSON object of
-- lists in a stable order, without times and serial ids: before and after a decision they differ by what it changed,
-- and the same decision gives the same twice. Money is text, exact to the cent.
with links as (
    select
        links.source_table,
        links.source_pk,
        links.person_key,
        links.match_rule
    from canon.identity_links as links
    where links.person_key = any(%(persons)s::uuid[])
),

ledger as (
    select
        ledger.person_key,
        ledger.attributed_source as source,
        ledger.attributed_scout_id as scout_id,
        ledger.attribution_rule as rule,
        ledger.decision_status
    from observational.lead_ledger as ledger
    where ledger.person_key = any(%(persons)s::uuid[])
),

scouts as (
    select
        scouts.person_key,
        scouts.scout_id,
        scouts.scout_quality_bucket as quality,
        scouts.has_open_conflict
    from ops.person_scouts as scouts
    where scouts.person_key = any(%(persons)s::uuid[])
),

-- Of the persons, of their accounts and of those that may move: a claim keeps the person it was made for.
claims as (
    select
        claims.driver_id,
        claims.milestone,
        claims.person_key,
        claims.status,
        claims.amount_expected::text as amount,
        claims.eligibility_disputed as is_disputed
    from canon.claims_yango_cabinet_14d as claims
    where claims.driver_id is not null
        and (
            claims.person_key = any(%(persons)s::uuid[])
            or claims.driver_id = any(%(drivers)s::text[])
            or claims.driver_id = any(array(
                select accounts.source_pk from links as accounts where accounts.source_table = 'drivers'
            ))
        )
),

money as (
    select
        stated.scout_id,
        stated.currency,
        sum(stated.owed_amount)::text as owed,
        sum(stated.settled_amount)::text as settled,
        sum(stated.due_amount)::text as due,
        sum(
            case when stated.block_reason is not null then stated.owed_amount - stated.settled_amount else 0.00 end
        )::text as blocked,
        coalesce(
            array_agg(distinct stated.block_reason order by stated.block_reason)
            filter (where stated.block_reason is not null and stated.owed_amount <> stated.settled_amount), '{{}}'
        ) as block_reasons
    from ops.scout_statements as stated
    where stated.person_key = any(%(persons)s::uuid[]) and stated.milestone_type is not null
    group by stated.scout_id, stated.currency
)

select jsonb_build_object(
    'links', (
        select jsonb_agg(to_jsonb(links) order by links.source_table collate "C", links.source_pk collate "C")
        from links
    ),
    'ledger', (select jsonb_agg(to_jsonb(ledger) order by ledger.person_key) from ledger),
    'scouts', (select jsonb_agg(to_jsonb(scouts) order by scouts.person_key) from scouts),
    'claims', (
        select jsonb_agg(to_jsonb(claims) order by claims.driver_id collate "C", claims.milestone) from claims
    ),
    'money', (select jsonb_agg(to_jsonb(money) order by money.scout_id, money.currency) from money)
)
