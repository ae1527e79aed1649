-- chk_person_is_not_too_large
-- Jobs linked more source records to one person than allowed (I6, reliability F24): probably by a key that is
-- nobody's own. Links loaded as history do not count: the load reports such persons (Q3).
-- Remedy: look at the person's links; take back the run that made them, or unlink what does not belong.
-- Setting: CT4_PERSON_SOURCE_LIMIT.
select
    links.person_key::text as subject,
    count(*) || ' records' as problem
from canon.identity_links as links
where links.run_id is not null and links.evidence -> 'legacy' is distinct from 'true'
group by links.person_key
having count(*) > coalesce(nullif(current_setting('ct4.person_source_limit', true), ''), '6')::integer;
