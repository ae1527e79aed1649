-- canon.within_one_edit
-- Whether two words differ by at most one inserted, dropped or replaced letter (Q76).
create or replace function canon.within_one_edit(a text, b text) returns boolean
language plpgsql immutable parallel safe
as $$
declare
    kept int := 0;
begin
    if a = b then
        return true;
    elsif abs(length(a) - length(b)) > 1 then
        return false;
    end if;
    while left(a, kept + 1) = left(b, kept + 1) and kept < least(length(a), length(b)) loop
        kept := kept + 1;
    end loop;
    return substr(a, kept + 1 + (length(a) >= length(b))::int) = substr(b, kept + 1 + (length(b) >= length(a))::int);
end
$$;
