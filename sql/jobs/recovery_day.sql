-- Stores how the gaps stand as the figures of today (Lima); the last run of a day stays (RB4, domain.md 7.7, Q39). What
-- left the backlog is counted from the figures of the day before on.
with last_day as (
    select max(days.taken_at) as taken_at
    from ops.identity_gap_days as days
    where days.snapshot_date < (now() at time zone 'America/Lima')::date
),

stored as (
    insert into ops.identity_gap_days (
        snapshot_date, total_leads, unresolved, no_identity, no_origin, inconsistent_origin, high_risk, medium_risk,
        low_risk, matched_24h, matched_out, top_fail_reason
    )
    select
        (now() at time zone 'America/Lima')::date,
        count(*),
        count(*) filter (where gaps.gap_reason <> 'resolved'),
        count(*) filter (where gaps.gap_reason = 'no_identity'),
        count(*) filter (where gaps.gap_reason = 'no_origin'),
        count(*) filter (where gaps.gap_reason = 'inconsistent_origin'),
        count(*) filter (where gaps.gap_reason <> 'resolved' and gaps.risk_level = 'high'),
        count(*) filter (where gaps.gap_reason <> 'resolved' and gaps.risk_level = 'medium'),
        count(*) filter (where gaps.gap_reason <> 'resolved' and gaps.risk_level = 'low'),
        (
            select count(*) from ops.identity_matching_jobs as jobs
            where jobs.status = 'matched' and jobs.last_attempt_at >= now() - interval '24 hours'
        ),
        count(*) filter (
            where gaps.linked_at > coalesce((select last_day.taken_at from last_day), '-infinity')
        ),
        (
            select jobs.fail_reason from ops.identity_matching_jobs as jobs
            where jobs.status <> 'matched' and jobs.fail_reason is not null
            group by jobs.fail_reason order by count(*) desc, jobs.fail_reason collate "C" limit 1
        )
    from ops.v_identity_gap_analysis as gaps
    on conflict (snapshot_date) do update set
        taken_at = now(),
        total_leads = excluded.total_leads,
        unresolved = excluded.unresolved,
        no_identity = excluded.no_identity,
        no_origin = excluded.no_origin,
        inconsistent_origin = excluded.inconsistent_origin,
        high_risk = excluded.high_risk,
        medium_risk = excluded.medium_risk,
        low_risk = excluded.low_risk,
        matched_24h = excluded.matched_24h,
        matched_out = excluded.matched_out,
        top_fail_reason = excluded.top_fail_reason
    returning *
)

select jsonb_build_object(
    'total_leads', stored.total_leads,
    'unresolved', stored.unresolved,
    'no_identity', stored.no_identity,
    'no_origin', stored.no_origin,
    'inconsistent_origin', stored.inconsistent_origin
)
from stored
