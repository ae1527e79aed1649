-- chk_refused_pair_is_not_linked
-- A lead record is linked to somebody of whom a person said that it is not him, or to the person of such a driver (P7,
-- reliability F30).
-- Remedy: take back the run that made the link ("manage.py roll_back_run"), or the refusal, whichever is wrong.
select
    links.source_table || ' ' || links.source_pk as subject,
    'linked to a person it was refused for' as problem
from canon.refused_matches as refusals
inner join canon.identity_links as links -- 1 record : 0..1 links
    on links.source_table = refusals.source_table and links.source_pk = refusals.source_pk
where links.person_key = refusals.person_key;
