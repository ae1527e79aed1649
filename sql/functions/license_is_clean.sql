-- canon.license_is_clean
-- Whether a normalised licence has a Peruvian shape: a letter and 8 or 9 digits, or two letters and
-- 6 digits (domain.md 4.5). Other shapes are usable but never HIGH on their own.
create or replace function canon.license_is_clean(license_norm text) returns boolean
language sql immutable parallel safe
as $$
    select coalesce(license_norm ~ '^([A-Z][0-9]{8,9}|[A-Z]{2}[0-9]{6})$', false)
$$;
