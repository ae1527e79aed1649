-- Compares a list of existing claims with the claims as they are now, and keeps the comparison (Q59; domain.md 3.7).
-- One claim per account and milestone (Q62): of several rows of the list the paid one is compared, else the one of our
-- lead, else the first; the others disappear. Ours are the claims that stand: not disputed, of an account that may
-- operate. What the list does not say is not compared, nor a person whom we never had. Nothing else is written.
-- Returns the id of the comparison and its figures.
with known as materialized (
    select
        claims.*,
        operational.driver_id is not null as is_operational,
        operational.driver_id is not null and not claims.eligibility_disputed as stands,
        claims.status = 'paid' or paid.driver_id is not null as payment_known
    from canon.claims_yango_cabinet_14d as claims
    left join canon.operational_drivers as operational on operational.driver_id = claims.driver_id -- 1 : 0..1
    left join ops.yango_payment_states as paid -- 1 claim : 0..1 newest payment
        on paid.is_newest_paid and paid.driver_id = claims.driver_id and paid.milestone_value = claims.milestone
),

listed as materialized (
    select
        existing.*,
        row_number() over its_claim as place,
        first_value(existing.line) over its_claim as first_line
    from ops.existing_claims as existing
    left join known on known.driver_id = existing.driver_id and known.milestone = existing.milestone -- 1 : 0..1
    where existing.claim_list_id = %(list_id)s
    window its_claim as (
        partition by existing.driver_id, existing.milestone
        order by
            existing.status <> 'paid',
            coalesce(existing.lead_source_pk <> known.lead_source_pk, true),
            coalesce(existing.lead_date <> known.lead_date, true),
            existing.line
    )
),

paired as materialized (
    select
        firsts.id as existing_id,
        null::bigint as same_as_line,
        known.claim_id,
        coalesce(known.stands, false) as stands,
        coalesce(firsts.driver_id, known.driver_id) as driver_id,
        coalesce(firsts.milestone, known.milestone) as milestone
    from (select * from listed where place = 1) as firsts
    full join known on known.driver_id = firsts.driver_id and known.milestone = firsts.milestone
    -- A claim that we rejected or let expire is no claim that would appear.
    where firsts.id is not null or (known.stands and known.status in ('expected', 'generated', 'paid'))
    union all
    select listed.id, listed.first_line, null, false, listed.driver_id, listed.milestone
    from listed
    where listed.place > 1
),

described as (
    select
        paired.*,
        listed.amount_expected as listed_amount,
        listed.status as listed_status,
        known.amount_expected as claim_amount,
        known.status as claim_status,
        known.person_key as claim_person_key,
        known.lead_source_pk as claim_lead_source_pk,
        known.lead_date as claim_lead_date,
        known.achieved_date as claim_achieved_date,
        known.is_operational,
        coalesce(known.payment_known, paid.driver_id is not null, false) as payment_known,
        case when listed.id is not null and paired.stands then
                array_remove(array[
                    case when listed.amount_expected <> known.amount_expected then 'amount' end,
                    case when listed.lead_date <> known.lead_date then 'lead_date' end,
                    case when listed.lead_source_pk <> known.lead_source_pk then 'lead' end,
                    case
                        when listed.person_key <> known.person_key and persons.person_key is not null then 'person'
                    end,
                    case when
                            case
                                when listed.status = 'paid' then 'paid'
                                when listed.status in ('rejected', 'expired') then 'over'
                                else 'open'
                            end <> case
                                when known.payment_known then 'paid'
                                when known.status in ('rejected', 'expired') then 'over'
                                else 'open'
                            end then 'status'
                    end
                ], null)
            else '{{}}'::text[]
        end as differences
    from paired
    left join listed on listed.id = paired.existing_id -- 1 : 0..1
    left join known on known.claim_id = paired.claim_id -- 1 : 0..1
    left join canon.identity_registry as persons on persons.person_key = listed.person_key -- 1 : 0..1
    left join ops.yango_payment_states as paid -- 1 claim : 0..1 newest payment; of duplicates the first has it
        on paid.is_newest_paid and paired.same_as_line is null
        and paid.driver_id = paired.driver_id and paid.milestone_value = paired.milestone
),

judged as materialized (
    select
        described.*,
        trips.trips_14d,
        coalesce(described.listed_status = 'paid', false) or described.payment_known as is_paid,
        case
            when described.existing_id is null then 'appears'
            when not described.stands then 'disappears'
            when described.differences <> '{{}}' then 'changes'
            else 'same'
        end as in_group,
        case
            when described.existing_id is null or described.stands then null
            when described.same_as_line is not null then 'duplicate'
            when described.claim_id is null and drivers.driver_id is null then 'unknown_account'
            when operational.driver_id is null then 'out_of_operation'
            when described.claim_id is not null then 'disputed'
            when trips.driver_id is null then 'no_lead'
            when trips.trips_14d < described.milestone then 'not_reached'
            else 'not_claimed'
        end as reason
    from described
    left join canon.drivers_index as drivers on drivers.driver_id = described.driver_id -- 1 : 0..1
    left join canon.operational_drivers as operational on operational.driver_id = described.driver_id -- 1 : 0..1
    left join observational.lead_trips as trips -- 1 account : 0..1 best lead of the cabinet
        on trips.source_table = 'module_ct_cabinet_leads' and trips.is_best_of_driver
        and trips.driver_id = described.driver_id and not described.stands
),

counted as (
    select
        judged.in_group,
        count(*) as row_count,
        coalesce(sum(judged.listed_amount), 0.00) as listed,
        coalesce(sum(judged.claim_amount) filter (where judged.stands), 0.00) as claimed,
        count(*) filter (where judged.is_paid) as paid_rows,
        coalesce(sum(coalesce(judged.listed_amount, judged.claim_amount)) filter (where judged.is_paid), 0.00) as paid
    from judged
    group by judged.in_group
),

figures as (
    select jsonb_build_object(
        'groups', (
            select jsonb_object_agg(all_groups.name, jsonb_build_object(
                'rows', coalesce(counted.row_count, 0),
                'listed', coalesce(counted.listed, 0.00)::text,
                'claimed', coalesce(counted.claimed, 0.00)::text,
                'paid_rows', coalesce(counted.paid_rows, 0),
                'paid', coalesce(counted.paid, 0.00)::text
            ))
            from (values ('disappears'), ('changes'), ('appears'), ('same')) as all_groups (name)
            left join counted on counted.in_group = all_groups.name
        ),
        'reasons', coalesce((
            select jsonb_object_agg(reasons.reason, jsonb_build_object(
                'rows', reasons.row_count, 'listed', reasons.listed::text
            ))
            from (
                select judged.reason, count(*) as row_count, sum(judged.listed_amount) as listed
                from judged
                where judged.reason is not null
                group by judged.reason
            ) as reasons
        ), '{{}}'),
        'differences', coalesce((
            select jsonb_object_agg(differing.name, differing.row_count)
            from (
                select names.name, count(*) as row_count
                from judged
                cross join lateral unnest(judged.differences) as names (name)
                group by names.name
            ) as differing
        ), '{{}}')
    ) as told
),

made as (
    insert into ops.claim_comparisons (claim_list_id, actor, run_id, rejected_count, figures)
    select %(list_id)s, %(actor)s, %(run_id)s, %(rejected)s, figures.told
    from figures
    returning *
),

kept as (
    insert into ops.claim_comparison_rows (
        comparison_id, "group", reason, differences, is_paid, payment_known, driver_id, milestone, existing_id,
        same_as_line, trips_14d, claim_id, claim_amount, claim_status, claim_person_key, claim_lead_source_pk,
        claim_lead_date, claim_achieved_date
    )
    select
        made.id, judged.in_group, judged.reason, judged.differences, judged.is_paid, judged.payment_known,
        judged.driver_id, judged.milestone, judged.existing_id, judged.same_as_line, judged.trips_14d, judged.claim_id,
        judged.claim_amount, judged.claim_status, judged.claim_person_key, judged.claim_lead_source_pk,
        judged.claim_lead_date, judged.claim_achieved_date
    from judged
    cross join made
    order by -- the order of reading: ids follow it
        array_position(array['disappears', 'changes', 'appears', 'same'], judged.in_group),
        not judged.is_paid,
        coalesce(judged.listed_amount, judged.claim_amount) desc,
        judged.driver_id collate "C",
        judged.milestone,
        judged.existing_id
    returning 1
)

select made.id, made.figures::text
from made
