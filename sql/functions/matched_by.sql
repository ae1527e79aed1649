-- canon.matched_by
-- By what kind of key a rule links, as lead events say it (domain.md 6.1); 'other' also for a person, 'none' without a
-- rule.
create or replace function canon.matched_by(match_rule text) returns text
language sql immutable parallel safe
as $$
    select case
        when match_rule like 'R1%' then 'phone_last9'
        when match_rule like 'R2%' then 'license'
        when match_rule like 'R3%' then 'plate'
        when match_rule is null then 'none'
        else 'other'
    end
$$;
