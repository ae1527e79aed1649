-- Roll-back of a run: an unmatched record that was resolved belongs to the person it was linked to, so that
-- record and link come back together or stay together. Reads and completes the temporary table undo.
update undo
set person_key = links.person_key
from undo as links
where undo.subject_table = 'identity_unmatched' and undo.person_key is null
    and links.subject_table = 'identity_links'
    and coalesce(links.after, links.before) ->> 'source_table' = coalesce(undo.after, undo.before) ->> 'source_table'
    and coalesce(links.after, links.before) ->> 'source_pk' = coalesce(undo.after, undo.before) ->> 'source_pk';

-- A link does not come back to somebody who was refused since.
update undo
set kept = 'refused'
from canon.refused_matches as refusals
where undo.subject_table = 'identity_links' and undo.before is not null
    and undo.before ->> 'source_table' = refusals.source_table and undo.before ->> 'source_pk' = refusals.source_pk
    and (
        (undo.before ->> 'person_key')::uuid = refusals.person_key
        or exists ( -- the driver comes back as well
            select 1 from undo as drivers
            where drivers.subject_table = 'identity_links' and drivers.before ->> 'source_table' = 'drivers'
                and drivers.before ->> 'source_pk' = refusals.driver_id
                and drivers.before ->> 'person_key' = undo.before ->> 'person_key'
        )
    )
    and not exists (
        select 1 from undo as refusal
        where refusal.subject_table = 'identity_refusals' and refusal.subject_key = refusals.refusal_key
    );

-- First origins, which have no audit entry but their line in the history: what the run left is what the next change of
-- the row found, or the row as it is.
create temp table first_origins on commit drop as
select history.person_key, persons.last_id
from (
    select undo.person_key, max(undo.last_id) as last_id
    from undo
    where undo.person_key is not null and undo.subject_table in ('identity_registry', 'identity_links')
    group by undo.person_key
) as persons
inner join canon.identity_origin_history as history -- 1 person : 0..n
    on history.person_key = persons.person_key and history.run_id = %(run_id)s and history.origin_tag_old is null
    and history.origin_tag_new is not null
group by history.person_key, persons.last_id;

update undo
set before = null
from first_origins
where undo.subject_table = 'identity_origin' and undo.subject_key = first_origins.person_key::text;

insert into undo (subject_table, subject_key, person_key, before, after, last_id)
select
    'identity_origin', first_origins.person_key::text, first_origins.person_key, null,
    coalesce(
        (
            select entries.before
            from ops.audit_log as entries
            where entries.person_key = first_origins.person_key and entries.subject_table = 'identity_origin'
                and entries.id > first_origins.last_id
            order by entries.id
            limit 1
        ),
        to_jsonb(origins)
    ),
    first_origins.last_id
from first_origins
left join canon.identity_origin as origins on origins.person_key = first_origins.person_key -- 1 : 0..1
where not exists (
        select 1 from undo
        where undo.subject_table = 'identity_origin' and undo.subject_key = first_origins.person_key::text
    );

drop table first_origins
