-- canon.fold_name
-- Text of a name in plain upper-case letters: marks stripped, hyphens, apostrophes and list
-- separators as blanks, everything else dropped (domain.md 4.5). Null when nothing is left.
create or replace function canon.fold_name(raw text) returns text
language plpgsql immutable parallel safe
as $$
declare
    name text := btrim(raw);
begin
    if name ~ '^[A-Z]+( [A-Z]+)*$' then
        return name;
    end if;
    -- Separators become blanks; the usual marks, split off by NFKD, have no counterpart and vanish.
    -- "C": the same letters under every locale of a database.
    name := upper(translate(
        normalize(name, nfkd),
        '-‐‑‒–—−''’‘`´,;/\_+' || U&'\0301\0303\0308\0300\0302\0327',
        '                  '
    ) collate "C");
    if name !~ '^[A-Z]+( [A-Z]+)*$' then
        name := btrim(regexp_replace(regexp_replace(name, '[^A-Z\s]+', '', 'g'), '\s+', ' ', 'g'));
    end if;
    return nullif(name, '');
end
$$;
