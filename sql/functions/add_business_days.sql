-- canon.add_business_days
-- The day that is so many working days (Monday to Friday) after a day; a weekend counts as the Friday before it.
create or replace function canon.add_business_days(day date, days integer) returns date
language sql immutable parallel safe
as $$
    -- Weeks whole, then the rest; from the last working day on, a rest that passes Friday passes a weekend.
    select starts.day + (days / 5) * 7 + (days % 5)
        + case when extract(isodow from starts.day)::integer + days % 5 > 5 then 2 else 0 end
    from (
        select day - greatest(extract(isodow from day)::integer - 5, 0) as day
    ) as starts
$$;
