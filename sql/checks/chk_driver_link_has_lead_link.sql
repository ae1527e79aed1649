-- chk_driver_link_has_lead_link
-- An account belongs to a person without any lead (domain.md 9.10): the person was created from a driver alone.
-- Remedy: such drivers are orphans; they are repaired or quarantined by the orphan job.
select
    'drivers ' || links.source_pk as subject,
    'its person has no lead' as problem
from canon.identity_links as links
where links.source_table = 'drivers' and links.match_rule = 'DRIVER_MATCH'
    and not exists (
        select 1 from canon.identity_links as leads
        where leads.person_key = links.person_key and leads.source_table <> 'drivers'
    );
