-- canon.name_key
-- Words of a normalised name, sorted and joined: equal for equal names in any order; null without words.
create or replace function canon.name_key(name_norm text) returns text
language sql immutable parallel safe
as $$
    select string_agg(word, ' ' order by word collate "C")
    from unnest(canon.name_tokens(name_norm)) as word
$$;
