-- Applies rows of the claims plan with their audit (domain.md 3.7). A claim that somebody changed since the plan was
-- made stays; a person who is gone since claims nothing. Returns the counts of what was written.
with picked as materialized (
    select * from {plan} where seq > %(first)s and seq <= %(last)s
),

before as materialized (
    select claims.*
    from picked
    inner join canon.claims_yango_cabinet_14d as claims
        on claims.claim_id = picked.claim_id and claims.updated_at = picked.seen_updated_at
        and claims.status in ('expected', picked.status)
),

made as (
    insert into canon.claims_yango_cabinet_14d (
        person_key, driver_id, lead_source_pk, lead_date, milestone, amount_expected, achieved_date, rule_id, status,
        expected_at, paid_at
    )
    select
        picked.person_key, picked.driver_id, picked.lead_source_pk, picked.lead_date, picked.milestone, picked.amount,
        picked.achieved_date, picked.rule_id, picked.status, now(), picked.paid_at
    from picked
    inner join canon.identity_registry as persons on persons.person_key = picked.person_key
    where picked.claim_id is null
    order by picked.seq
    on conflict do nothing
    returning *
),

changed as (
    update canon.claims_yango_cabinet_14d as claims
    set
        status = picked.status,
        paid_at = picked.paid_at,
        eligibility_disputed = picked.is_disputed,
        updated_at = clock_timestamp()
    from picked
    inner join before on before.claim_id = picked.claim_id
    where claims.claim_id = picked.claim_id
        and claims.updated_at = before.updated_at and claims.status = before.status
    returning claims.*
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'refresh_claims', 'claims_yango_cabinet_14d', new.claim_id::text, new.person_key,
        to_jsonb(old), to_jsonb(new)
    from (select * from made union all select * from changed) as new
    left join before as old on old.claim_id = new.claim_id
    returning 1
)

select jsonb_build_object(
    'claims_made', (select count(*) from made),
    'claims_paid', (select count(*) from made where status = 'paid') + (
        select count(*) from changed inner join before on before.claim_id = changed.claim_id
        where changed.status <> before.status
    ),
    'claims_disputed', (
        select count(*) from changed inner join before on before.claim_id = changed.claim_id
        where changed.eligibility_disputed and not before.eligibility_disputed
    ),
    'claims_undisputed', (
        select count(*) from changed inner join before on before.claim_id = changed.claim_id
        where before.eligibility_disputed and not changed.eligibility_disputed
    ),
    'skipped_changed_since_plan', (select count(*) from picked)
    - (select count(*) from made) - (select count(*) from changed),
    'audit', (select count(*) from audited)
)
