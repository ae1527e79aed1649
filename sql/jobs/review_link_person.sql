-- The person that a person makes by hand from a lead record, and from its driver when there is one (temporary table
-- numbered, review_link_record). The driver's own data come first, as in matching (domain.md 3.1, 5.3).
with created as (
    insert into canon.identity_registry as persons (
        person_key, confidence_level, primary_phone, primary_license, primary_full_name, flags
    )
    select
        %(person_key)s::uuid,
        'HIGH',
        coalesce(
            case when not drivers.phone_is_weak then drivers.phone_norm end,
            case when not numbered.phone_is_weak then numbered.phone_norm end
        ),
        coalesce(drivers.license_norm, numbered.license_norm),
        coalesce(drivers.full_name_norm, numbered.name_norm),
        jsonb_build_object('created_by_hand', true)
    from numbered
    left join canon.drivers_index as drivers on drivers.driver_id = %(driver_id)s -- 1 : 0..1
    returning persons.*
)

insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
select
    %(run_id)s, %(actor)s, 'create_person', %(reason)s, 'identity_registry', created.person_key::text,
    created.person_key, null, to_jsonb(created)
from created
