-- canon.name_similarity
-- Similarity of two token sets, 0 to 1: mean of Jaccard and of overlap with the longer set
-- (domain.md 4.2). 0 when either is empty.
create or replace function canon.name_similarity(a text[], b text[]) returns double precision
language plpgsql immutable parallel safe
as $$
declare
    common double precision := 0;
    word text;
begin
    foreach word in array a loop
        if word = any(b) then
            common := common + 1;
        end if;
    end loop;
    if common = 0 then
        return 0;
    end if;
    return (
        common / (cardinality(a) + cardinality(b) - common)
        + common / greatest(cardinality(a), cardinality(b))
    ) / 2;
end
$$;
