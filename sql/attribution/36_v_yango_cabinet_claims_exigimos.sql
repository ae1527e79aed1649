-- ops.v_yango_cabinet_claims_exigimos
-- What we demand of the partner: claims that were reached and are not paid (domain.md 12.5, Q60).
-- Grain: one row per claim_key.
-- Read by: the demand list.
select
    md5(concat_ws('|', claims.driver_id, claims.milestone_value, claims.lead_date)) as claim_key,
    claims.*
from ops.v_yango_cabinet_claims_for_collection as claims
where claims.is_collectable
