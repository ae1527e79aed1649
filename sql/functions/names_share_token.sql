-- canon.names_share_token
-- Whether two token sets share a word; words of five letters and more may differ by one edit (Q76).
create or replace function canon.names_share_token(a text[], b text[]) returns boolean
language plpgsql immutable parallel safe
as $$
declare
    left_word text;
    right_word text;
begin
    if a && b then
        return true;
    end if;
    foreach left_word in array a loop
        foreach right_word in array b loop
            if length(left_word) >= 5 and length(right_word) >= 5 and canon.within_one_edit(left_word, right_word) then
                return true;
            end if;
        end loop;
    end loop;
    return false;
end
$$;
