-- chk_event_person_is_link_person
-- A lead event names another person than the link of its record, or one where there is no link (domain.md 6.1).
-- Remedy: take back the run that wrote it ("manage.py roll_back_run"), then run "manage.py run_identity".
select
    events.source_table || ' ' || events.source_pk as subject,
    case when links.id is null then 'has a person, its record has none' else 'names another person' end as problem
from observational.lead_events as events
left join canon.identity_links as links -- 1 event : 0..1 links
    on links.source_table = events.source_table and links.source_pk = events.source_pk
where events.person_key is distinct from links.person_key;
