-- What must be known before a record or a driver is linked or moved by hand: whose it is, and how the persons stand.
-- Every part is optional: no record (%%(source_pk)s null), no driver, no person.
select jsonb_build_object(
    'record', (
        select jsonb_build_object('link_id', links.id, 'person_key', links.person_key)
        from canon.identity_links as links
        where links.source_table = %(source_table)s and links.source_pk = %(source_pk)s
    ),
    'is_set_aside', exists (
        select 1 from canon.identity_unmatched as unmatched
        where unmatched.source_table = %(source_table)s and unmatched.source_pk = %(source_pk)s
            and unmatched.status = 'IGNORED'
    ),
    -- Rows of cabinet leads that bear the record's name.
    'delivered', array(
        select leads.id from public.module_ct_cabinet_leads as leads
        where %(source_table)s = 'module_ct_cabinet_leads' and leads.external_id = %(source_pk)s
    ),
    'has_driver', exists (
        select 1 from canon.drivers_index as drivers
        where drivers.driver_id = %(driver_id)s and drivers.vanished_at is null
    ),
    'driver', (
        select jsonb_build_object('link_id', links.id, 'person_key', links.person_key)
        from canon.identity_links as links
        where links.source_table = 'drivers' and links.source_pk = %(driver_id)s
    ),
    'has_person', exists (
        select 1 from canon.identity_registry as persons where persons.person_key = %(person_key)s::uuid
    ),
    'person', (
        select jsonb_build_object(
            'records', count(*),
            'leads', count(*) filter (where links.source_table <> 'drivers')
        )
        from canon.identity_links as links
        where links.person_key = %(person_key)s::uuid
    ),
    -- The person the record is taken from, without the record.
    'former', (
        select jsonb_build_object(
            'leads', count(*) filter (where links.source_table <> 'drivers' and links.id <> moved.id),
            'drivers', count(*) filter (where links.source_table = 'drivers')
        )
        from canon.identity_links as moved
        inner join canon.identity_links as links on links.person_key = moved.person_key -- 1 : n
        where moved.source_table = %(source_table)s and moved.source_pk = %(source_pk)s
    )
)
