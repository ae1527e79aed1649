-- canon.phone_digits
-- National digits of a raw phone: ASCII digits without 00, country code 51 and trunk 0 where a
-- Peruvian mobile remains; null when fewer than 9 or more than 15 digits (domain.md 4.5, F24).
create or replace function canon.phone_digits(raw text) returns text
language plpgsql immutable parallel safe
as $$
declare
    -- Usual punctuation goes by translate, which is many times faster than a regular expression.
    digits text := translate(raw, ' +-().', '');
begin
    if digits ~ '[^0-9]' then
        digits := regexp_replace(digits, '[^0-9]', '', 'g');
    end if;
    if length(digits) not between 9 and 15 then
        return null;
    elsif digits ~ '^(00)?(51)?0?9[0-9]{8}$' then
        return right(digits, 9);
    end if;
    return digits;
end
$$;
