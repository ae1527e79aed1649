-- Origins follow the records of persons whose links a person moved: the one by rule (table origins, identity_8_origins)
-- where there is none or the present one rests on a record that is not the person's any more; none without leads.
-- What a person decided, and history that was loaded, stays (P7). With history and audit.
with present as materialized (
    select
        decisions.person_key,
        stored as origin,
        (stored).person_key is not null
        and (stored).decided_by = 'system'
        and (stored).origin_tag <> 'legacy_external'
        and own.id is null as is_adrift
    from decisions
    left join canon.identity_origin as stored on stored.person_key = decisions.person_key -- 1 : 0..1
    left join canon.identity_links as own -- 1 : 0..1
        on own.source_pk = stored.origin_source_id and own.person_key = stored.person_key
        and own.source_table = case stored.origin_tag
            when 'cabinet_lead' then 'module_ct_cabinet_leads'
            when 'scout_registration' then 'module_ct_scouting_daily'
            when 'migration' then 'module_ct_migrations'
            else 'no lead table'
        end
),

created as (
    insert into canon.identity_origin as stored (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status, evidence
    )
    select
        origins.person_key, origins.origin_tag, origins.origin_source_id, origins.origin_confidence,
        origins.origin_created_at, origins.resolution_status, jsonb_build_object('run_id', %(run_id)s)
    from origins
    inner join present on present.person_key = origins.person_key and (present.origin).person_key is null
    returning null::canon.identity_origin as before, stored as after
),

changed as (
    update canon.identity_origin as stored
    set origin_tag = origins.origin_tag,
        origin_source_id = origins.origin_source_id,
        origin_confidence = origins.origin_confidence,
        origin_created_at = origins.origin_created_at,
        resolution_status = origins.resolution_status,
        evidence = jsonb_build_object('run_id', %(run_id)s),
        decided_at = now(),
        updated_at = now()
    from origins
    inner join present on present.person_key = origins.person_key and present.is_adrift
    where stored.person_key = origins.person_key
    returning present.origin as before, stored as after
),

removed as (
    delete from canon.identity_origin as stored using present
    where stored.person_key = present.person_key and present.is_adrift
        and not exists (select 1 from origins where origins.person_key = present.person_key)
    returning stored as before, null::canon.identity_origin as after
),

history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
        origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
        ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
    )
    select
        coalesce((written.after).person_key, (written.before).person_key),
        (written.before).origin_tag, (written.after).origin_tag,
        (written.before).origin_source_id, (written.after).origin_source_id,
        (written.before).origin_confidence, (written.after).origin_confidence,
        (written.before).resolution_status, (written.after).resolution_status,
        (written.before).ruleset_version, (written.after).ruleset_version, %(actor)s, 'records moved by hand',
        %(run_id)s
    from (
        select * from created union all select * from changed union all select * from removed
    ) as written
    returning 1
),

audited as (
    -- A first origin has its line in the origin history, and an undo reads it there.
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, case when (written.after).person_key is null then 'remove_origin' else 'set_origin' end,
        %(reason)s, 'identity_origin', (written.before).person_key::text, (written.before).person_key,
        to_jsonb(written.before),
        case when (written.after).person_key is not null then to_jsonb(written.after) end
    from (select * from changed union all select * from removed) as written
    returning 1
)

select jsonb_build_object(
    'origins', (select count(*) from history),
    'audit', (select count(*) from audited)
)
