-- canon.name_tokens
-- Distinct words of a normalised name without particles, in their order (domain.md 4.1); empty for null.
create or replace function canon.name_tokens(name_norm text) returns text[]
language plpgsql immutable parallel safe
as $$
declare
    tokens text[] := '{}';
    word text;
begin
    if name_norm is null then
        return tokens;
    end if;
    foreach word in array string_to_array(name_norm, ' ') loop
        if word not in ('DE', 'DEL', 'LA', 'LOS', 'LAS', 'EL', 'Y', 'E') and word <> all (tokens) then
            tokens := tokens || word;
        end if;
    end loop;
    return tokens;
end
$$;
