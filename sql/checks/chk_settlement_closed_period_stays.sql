-- chk_settlement_closed_period_stays
-- The lines of a closed settlement period are not those it was closed with, or no longer add up to its totals.
-- Remedy: none by hand; somebody wrote past the guards. Compare with a backup and restore the lines.
select
    periods.name as subject,
    case
        when periods.digest <> digests.digest then 'its lines changed since it was closed'
        else 'its lines no longer add up to its totals'
    end as problem
from ops.settlement_periods as periods
inner join ops.settlement_digests as digests on digests.period_id = periods.id -- 1 : 1
where periods.status = 'closed'
    and (
        periods.digest, periods.lines_count, periods.adjustments_count, periods.scouts_count, periods.persons_count,
        periods.amounts
    ) is distinct from (
        digests.digest, digests.lines_count::integer, digests.adjustments_count::integer,
        digests.scouts_count::integer, digests.persons_count::integer, digests.amounts
    );
