-- ops.payment_item_key
-- The key of what a scout is paid for: who, for whom, for which milestone of which kind of lead (domain.md 3.11).
create or replace function ops.payment_item_key(
    scout_id integer, person_key uuid, origin_tag text, milestone_type text, milestone_value integer
) returns text
language sql immutable parallel safe
as $$
    select md5(
        scout_id::text || '|' || person_key::text || '|' || origin_tag || '|' || milestone_type || '|'
        || milestone_value::text
    )
$$;
