-- ops.v_cabinet_claims_gap_14d
-- What every dated cabinet lead should have claimed, and whether its account has that claim, by this lead or an earlier
-- one (domain.md 12.9, Q62).
-- Grain: one row per lead_source_pk, rule_id.
-- Read by: collection.
select
    expected.lead_id,
    expected.lead_row_id,
    expected.lead_source_pk,
    expected.driver_id,
    expected.person_key,
    expected.lead_date,
    expected.week_start,
    expected.rule_id,
    expected.milestone_value,
    expected.trips_14d,
    expected.milestone_reached as milestone_achieved,
    expected.expected_amount,
    expected.claim_expected,
    claims.claim_id is not null as claim_exists,
    case
        when not expected.claim_expected then 'INVALID'
        when claims.claim_id is null then 'MISSING'
        else 'EXISTS'
    end as claim_status,
    case
        when not expected.claim_expected then expected.expected_reason_detail
        when claims.claim_id is null then 'CLAIM_NOT_GENERATED'
        else 'OK'
    end as gap_reason
from ops.v_cabinet_claims_expected_14d as expected
left join canon.claims_yango_cabinet_14d as claims -- 1 : 0..1
    on claims.driver_id = expected.driver_id and claims.milestone = expected.milestone_value
