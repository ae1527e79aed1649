-- chk_record_is_linked_or_open
-- A record is linked to a person and still listed as an open unmatched record (I3, domain.md 5.6).
-- Remedy: set the unmatched record RESOLVED through its screen; report it, a job must not leave both.
select
    unmatched.source_table || ' ' || unmatched.source_pk as subject,
    'linked and open at once' as problem
from canon.identity_unmatched as unmatched
inner join canon.identity_links as links
    on links.source_table = unmatched.source_table and links.source_pk = unmatched.source_pk
where unmatched.status = 'OPEN';
