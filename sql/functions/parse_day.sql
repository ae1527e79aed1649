-- canon.parse_day
-- The day a text means, written day first or year first (domain.md 2.5); null when it means none.
create or replace function canon.parse_day(raw text) returns date
language sql immutable parallel safe
as $$
    -- One expression, so that a query that reads millions of days has it in place. A day past the end of its month
    -- would land in the next one.
    select case
        when btrim(raw) ~ '^(0[1-9]|[12][0-9]|3[01])[-/.](0[1-9]|1[0-2])[-/.][1-9][0-9]{3}$' then case
            when extract(month from make_date(right(btrim(raw), 4)::integer, substr(btrim(raw), 4, 2)::integer, 1)
                + (left(btrim(raw), 2)::integer - 1)) = substr(btrim(raw), 4, 2)::integer
                then make_date(right(btrim(raw), 4)::integer, substr(btrim(raw), 4, 2)::integer, 1)
                    + (left(btrim(raw), 2)::integer - 1)
        end
        when btrim(raw) ~ '^[1-9][0-9]{3}[-/.](0[1-9]|1[0-2])[-/.](0[1-9]|[12][0-9]|3[01])$' then case
            when extract(month from make_date(left(btrim(raw), 4)::integer, substr(btrim(raw), 6, 2)::integer, 1)
                + (right(btrim(raw), 2)::integer - 1)) = substr(btrim(raw), 6, 2)::integer
                then make_date(left(btrim(raw), 4)::integer, substr(btrim(raw), 6, 2)::integer, 1)
                    + (right(btrim(raw), 2)::integer - 1)
        end
    end
$$;
