-- canon.may_be_one_human
-- Whether two who share a key may be one human by their names, as token sets, and licences (domain.md 5.5, Q76): names
-- at least half alike; and if each has a licence of his own, the one name is the other, cut short or misspelt. A
-- family shares a phone and its surnames, never a licence.
create or replace function canon.may_be_one_human(
    a_tokens text[], a_license text, b_tokens text[], b_license text
) returns boolean
language sql immutable parallel safe
as $$
    select canon.name_similarity(a_tokens, b_tokens) >= 0.5
        and (
            canon.within_one_slip(a_license, b_license) or canon.name_likeness(a_tokens, b_tokens) = 1
        ) is not false
$$;
