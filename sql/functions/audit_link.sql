-- ops.audit_link
-- The digest of a seal: of the seal before it, of its place, and of what it seals (reliability I8).
create or replace function ops.audit_link(
    former text, seal_no bigint, sealed_run integer, first_after bigint, last_entry bigint, entries text
) returns text
language sql immutable parallel safe
as $$
    select encode(sha256(concat_ws(
        '|', former, seal_no::text, coalesce(sealed_run::text, '-'), coalesce(first_after::text, '-'),
        coalesce(last_entry::text, '-'), entries
    )::bytea), 'hex')
$$;
