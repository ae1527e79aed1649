-- Rows of the predecessor's two files as read; a column is named as in the file (domain.md 3.1, 3.2).
-- outcome is null while a row is undecided. record_pk is the key a link will have, source_pk the one the file says.
create temp table legacy_persons (
    line bigint not null, person_key uuid not null, confidence_level text not null,
    primary_phone text, primary_document text, primary_license text, primary_full_name text, flags jsonb,
    created_at timestamptz, updated_at timestamptz,
    phone_norm text, license_norm text, name_norm text, has_junk boolean not null default false, outcome text
) on commit drop;
create temp table legacy_links (
    line bigint not null, person_key uuid not null, source_table text not null, source_pk text not null,
    snapshot_date timestamptz not null, match_rule text not null, match_score integer not null,
    confidence_level text not null, evidence jsonb, linked_at timestamptz,
    record_pk text, is_mapped boolean not null default false, other_person_key uuid, outcome text
) on commit drop
