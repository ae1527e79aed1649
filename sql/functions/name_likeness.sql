-- canon.name_likeness
-- How alike two token sets are, 0 to 1, when slips of the pen are forgiven: similarity as in canon.name_similarity, but
-- words of four letters or more one slip apart count as the same, and a name of two words or more that the other holds
-- whole is the same name cut short (Q79). For suspicions that a person judges; never a reason to link.
create or replace function canon.name_likeness(a text[], b text[]) returns double precision
language plpgsql immutable parallel safe
as $$
declare
    shorter text[] := case when cardinality(a) <= cardinality(b) then a else b end;
    longer text[] := case when cardinality(a) <= cardinality(b) then b else a end;
    common double precision := 0;
    words double precision := cardinality(longer);
    word text;
    other text;
begin
    foreach word in array shorter loop
        if word = any(longer) then
            common := common + 1;
            continue;
        end if;
        foreach other in array longer loop
            if least(length(word), length(other)) >= 4 and other <> all(shorter)
                and canon.within_one_slip(word, other) then
                common := common + 1;
                longer := array_remove(longer, other); -- it answers for one word
                exit;
            end if;
        end loop;
    end loop;
    if common = 0 then
        return 0;
    elsif common = cardinality(shorter) and common >= 2 then
        return 1;
    end if;
    return (common / (cardinality(a) + cardinality(b) - common) + common / words) / 2;
end
$$;
