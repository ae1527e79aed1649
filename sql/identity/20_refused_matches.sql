-- canon.refused_matches
-- "Never this one": the driver, or the person, that somebody said a lead record is not (promise P7, reliability F30). A
-- refused driver refuses its person too, while it has one.
-- Grain: one row per refusal_key.
-- Read by: every job that links, the operations of review, the checks.
select
    refusals.refusal_key,
    refusals.source_table,
    refusals.source_pk,
    refusals.driver_id,
    coalesce(refusals.person_key, links.person_key) as person_key
from canon.identity_refusals as refusals
left join canon.identity_links as links -- 1 driver : 0..1 links
    on links.source_table = 'drivers' and links.source_pk = refusals.driver_id
