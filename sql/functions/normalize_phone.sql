-- canon.normalize_phone
-- Comparison key of a phone: nine digits, or null when too short or a placeholder
-- (domain.md 4.5, Q2). canon.phone_is_weak tells whether the key is a Peruvian mobile.
create or replace function canon.normalize_phone(raw text) returns text
language plpgsql immutable parallel safe
as $$
declare
    key text := right(canon.phone_digits(raw), 9);
begin
    if key in ('123456789', '012345678', '234567890') or replace(key, left(key, 1), '') = '' then
        return null;
    end if;
    return key;
end
$$;
