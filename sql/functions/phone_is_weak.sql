-- canon.phone_is_weak
-- Whether a phone is usable but not a Peruvian mobile: a land line, a foreign number (domain.md 4.5).
-- A weak key never links by itself and never merges persons.
create or replace function canon.phone_is_weak(raw text) returns boolean
language plpgsql immutable parallel safe
as $$
begin
    if raw ~ '^\+?(51 ?)?9[0-9]{8}$' then
        return false;
    end if;
    return coalesce(canon.phone_digits(raw) !~ '^9[0-9]{8}$', false);
end
$$;
