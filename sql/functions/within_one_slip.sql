-- canon.within_one_slip
-- Whether two words or numbers differ by at most one slip of the pen: one edit, or two neighbours swapped (Q79).
create or replace function canon.within_one_slip(a text, b text) returns boolean
language plpgsql immutable parallel safe
as $$
declare
    kept int := 0;
begin
    if a = b or canon.within_one_edit(a, b) then
        return true;
    elsif length(a) <> length(b) then
        return false;
    end if;
    while left(a, kept + 1) = left(b, kept + 1) loop
        kept := kept + 1;
    end loop;
    return substr(a, kept + 1, 2) = reverse(substr(b, kept + 1, 2)) and substr(a, kept + 3) = substr(b, kept + 3);
end
$$;
