-- canon.normalize_plate
-- Plate in upper case, letters and digits only, five to seven long; null for placeholders (domain.md 4.5).
create or replace function canon.normalize_plate(raw text) returns text
language plpgsql immutable parallel safe
as $$
declare
    key text := translate(upper(raw collate "C"), ' -.', '');
begin
    if key ~ '[^A-Z0-9]' then
        key := regexp_replace(key, '[^A-Z0-9]', '', 'g');
    end if;
    if length(key) not between 5 and 7 or key !~ '[1-9]' or replace(key, left(key, 1), '') = '' then
        return null;
    end if;
    return key;
end
$$;
