-- canon.normalize_license
-- Licence in upper case, letters and digits only; null for placeholders (domain.md 4.5, F24).
create or replace function canon.normalize_license(raw text) returns text
language plpgsql immutable parallel safe
as $$
declare
    key text := translate(upper(raw collate "C"), ' -.', '');
begin
    if key ~ '[^A-Z0-9]' then
        key := regexp_replace(key, '[^A-Z0-9]', '', 'g');
    end if;
    if length(key) < 6 or key like 'DRIVERDRAFT%' or key !~ '[1-9]' or replace(key, left(key, 1), '') = '' then
        return null;
    end if;
    return key;
end
$$;
