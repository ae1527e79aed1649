-- Opens a case for every cause that has none, brings open ones up to date, closes those whose cause is gone. causes
-- is the query of the causes, cases those in question, money the view of what hangs on persons. What waits
-- for a second person stays. The most money is due first; a run that opens many spreads them over working days.
with causes as materialized (
    {causes}
),

weighed as materialized (
    select causes.*, coalesce(money.amount, 0)::numeric(12, 2) as money_at_risk
    from causes
    left join {money} as money on money.person_key = causes.person_key -- 1 : 0..1
),

present as materialized (
    {cases}
),

opened as (
    insert into ops.review_cases (
        kind, subject_key, person_key, driver_id, raised_by, signature, cause_digest, opened_at, money_at_risk,
        closed_because, due_on
    )
    select
        weighed.kind, weighed.subject_key, weighed.person_key, weighed.driver_id, weighed.raised_by, weighed.signature,
        weighed.cause_digest, coalesce(weighed.since, now()), weighed.money_at_risk, '',
        canon.add_business_days(
            (now() at time zone 'America/Lima')::date,
            (
                %(due_days)s + (row_number() over (
                    order by weighed.money_at_risk desc, weighed.since, weighed.kind, weighed.subject_key collate "C"
                ) - 1) / %(per_day)s
            )::integer
        )
    from weighed
    where not exists (
            select 1 from present
            where present.kind = weighed.kind and present.subject_key = weighed.subject_key
        )
    on conflict (kind, subject_key) where status = 'OPEN' do nothing
    returning 1
),

changed as (
    update ops.review_cases as cases
    set person_key = weighed.person_key,
        driver_id = weighed.driver_id,
        raised_by = weighed.raised_by,
        signature = weighed.signature,
        cause_digest = weighed.cause_digest,
        money_at_risk = weighed.money_at_risk,
        -- Another question than the one somebody may be looking at.
        version = cases.version + (
            (cases.cause_digest, cases.person_key, cases.driver_id)
            is distinct from (weighed.cause_digest, weighed.person_key, weighed.driver_id)
        )::integer
    from weighed
    inner join present on present.kind = weighed.kind and present.subject_key = weighed.subject_key
    where cases.id = present.id and not cases.is_frozen and cases.status = 'OPEN'
        and (
            cases.person_key, cases.driver_id, cases.raised_by, cases.signature, cases.cause_digest,
            cases.money_at_risk
        ) is distinct from (
            weighed.person_key, weighed.driver_id, weighed.raised_by, weighed.signature, weighed.cause_digest,
            weighed.money_at_risk
        )
    returning 1
),

closed as (
    update ops.review_cases as cases
    set status = 'CLOSED',
        closed_at = now(),
        closed_because = 'cause_gone',
        version = cases.version + 1,
        leased_to_id = null,
        leased_since = null,
        leased_until = null
    from present
    where cases.id = present.id and not cases.is_frozen and cases.status = 'OPEN'
        and not exists (
            select 1 from weighed where weighed.kind = present.kind and weighed.subject_key = present.subject_key
        )
    returning 1
)

select jsonb_build_object(
    'causes', (select count(*) from causes),
    'opened', (select count(*) from opened),
    'changed', (select count(*) from changed),
    'closed', (select count(*) from closed)
)
