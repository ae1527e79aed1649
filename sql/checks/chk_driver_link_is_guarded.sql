-- chk_driver_link_is_guarded
-- The database no longer refuses to link a driver to a person without a lead (domain.md 9.10): the trigger is gone, or
-- sleeps.
-- Remedy: find out who changed it and which links came in since; then restore the trigger from the migration.
select
    'canon.identity_links' as subject,
    'drivers can be linked without a lead' as problem
where not exists (
        select 1 from pg_trigger as triggers
        where triggers.tgrelid = 'canon.identity_links'::regclass and triggers.tgenabled = 'A'
            and triggers.tgfoid = to_regproc('canon.refuse_driver_link_without_lead')
    );
