-- How the identity gap stands: what is missing, how the retries go, whether what they say is so (RB4, domain.md 7.7).
-- Reads only, one moment. Returns one JSON object; every count is there, zero included.
with reasons (gap_reason) as (
    values ('no_identity'), ('no_origin'), ('inconsistent_origin'), ('resolved')
),

gaps as materialized (
    select found.gap_reason, found.risk_level, count(*) as leads
    from ops.v_identity_gap_analysis as found
    group by found.gap_reason, found.risk_level
),

totals as (
    select
        coalesce(sum(gaps.leads), 0) as total,
        coalesce(sum(gaps.leads) filter (where gaps.gap_reason <> 'resolved'), 0) as unresolved,
        coalesce(sum(gaps.leads) filter (where gaps.gap_reason = 'no_identity'), 0) as no_identity,
        coalesce(sum(gaps.leads) filter (where gaps.gap_reason = 'no_origin'), 0) as no_origin,
        coalesce(sum(gaps.leads) filter (where gaps.gap_reason = 'inconsistent_origin'), 0) as inconsistent_origin
    from gaps
),

breakdown as (
    select
        reasons.gap_reason,
        coalesce(sum(gaps.leads) filter (where gaps.risk_level = 'high'), 0) as high,
        coalesce(sum(gaps.leads) filter (where gaps.risk_level = 'medium'), 0) as medium,
        coalesce(sum(gaps.leads) filter (where gaps.risk_level = 'low'), 0) as low
    from reasons
    left join gaps on gaps.gap_reason = reasons.gap_reason -- 1 reason : 0..3 risks
    group by reasons.gap_reason
),

-- The runs tell of a run that found nothing to do, too; the tries do not.
runs as (
    select
        min(known.completed_at) filter (where known.status = 'COMPLETED') as first_run_at,
        max(known.completed_at) filter (where known.status = 'COMPLETED') as last_run_at,
        coalesce((array_agg(known.status order by known.id desc))[1] = 'FAILED', false) as last_run_failed
    from ops.ingestion_runs as known
    where known.job_type = 'identity_gap_recovery' and not known.dry_run and known.status <> 'RUNNING'
),

jobs as (
    select
        count(*) filter (where known.last_attempt_at >= now() - interval '24 hours') as jobs_24h,
        count(*) filter (
            where known.status = 'matched' and known.last_attempt_at >= now() - interval '24 hours'
        ) as matched_24h,
        max(known.last_attempt_at) filter (where known.status = 'matched') as last_matched_at,
        count(*) filter (where known.status <> 'matched' and known.attempt_count >= %(max_attempts)s) as stuck,
        count(*) filter (
            where known.status = 'matched'
                and not exists (
                    select 1 from canon.identity_links as links
                    where links.source_table = 'module_ct_cabinet_leads' and links.source_pk = known.source_id
                )
        ) as matched_without_link
    from ops.identity_matching_jobs as known
),

fail_reasons as (
    select
        known.fail_reason as reason,
        count(*) as leads,
        round(avg(known.attempt_count), 1) as average_tries,
        max(known.attempt_count) as most_tries,
        count(*) filter (where known.attempt_count >= %(max_attempts)s) as stuck
    from ops.identity_matching_jobs as known
    where known.status <> 'matched' and known.fail_reason is not null
    group by known.fail_reason
    order by count(*) desc, known.fail_reason collate "C"
    limit 10
),

volume as (
    select
        count(*) as tries,
        count(distinct tried.lead_id) as leads,
        count(*) filter (where tried.outcome = 'matched') as matched,
        count(*) filter (where tried.outcome = 'pending') as pending,
        count(*) filter (where tried.outcome = 'failed') as failed
    from ops.identity_matching_attempts as tried
    where tried.attempted_at >= now() - interval '24 hours'
),

links as (
    select
        count(*) filter (where known.linked_at >= now() - interval '24 hours') as links_24h,
        count(*) filter (where known.linked_at >= now() - interval '7 days') as links_7d,
        count(*) filter (
            where not exists (
                select 1 from canon.identity_origin as origins where origins.person_key = known.person_key
            )
        ) as links_without_origin
    from canon.identity_links as known
    where known.source_table = 'module_ct_cabinet_leads'
),

recovered as (
    select
        count(*) filter (where known.first_recovered_at >= now() - interval '24 hours') as recovered_24h,
        count(*) filter (where known.first_recovered_at >= now() - interval '7 days') as recovered_7d
    from ops.cabinet_lead_recovery_audit as known
),

day_before as (
    select days.*
    from ops.identity_gap_days as days
    where days.snapshot_date < (now() at time zone 'America/Lima')::date
    order by days.snapshot_date desc
    limit 1
)

select jsonb_build_object(
    'metrics', (
        select jsonb_build_object(
            'taken_at', now(),
            'total_leads', totals.total,
            'unresolved', totals.unresolved,
            'resolved', totals.total - totals.unresolved,
            'pct_unresolved', coalesce(round(100 * totals.unresolved / nullif(totals.total, 0), 2), 0),
            'leads_without_date', (
                select count(*) from ops.cabinet_lead_identity as leads where leads.lead_date is null
            )
        )
        from totals
    ),
    'breakdown', (
        select jsonb_object_agg(
            breakdown.gap_reason,
            jsonb_build_object('high', breakdown.high, 'medium', breakdown.medium, 'low', breakdown.low)
        )
        from breakdown
    ),
    'freshness', (
        select jsonb_build_object(
            'first_run_at', runs.first_run_at,
            'last_run_at', runs.last_run_at,
            'last_run_failed', runs.last_run_failed,
            'last_matched_at', jobs.last_matched_at,
            'jobs_24h', jobs.jobs_24h,
            'matched_24h', jobs.matched_24h
        )
        from runs cross join jobs
    ),
    'fail_reasons', (
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'reason', fail_reasons.reason, 'leads', fail_reasons.leads,
                'average_tries', fail_reasons.average_tries, 'most_tries', fail_reasons.most_tries,
                'stuck', fail_reasons.stuck
            )
            order by fail_reasons.leads desc, fail_reasons.reason collate "C"
        ), '[]')
        from fail_reasons
    ),
    'volume_24h', (
        select jsonb_build_object(
            'tries', volume.tries, 'leads', volume.leads, 'matched', volume.matched, 'pending', volume.pending,
            'failed', volume.failed
        )
        from volume
    ),
    'links', (
        select jsonb_build_object(
            'links_24h', links.links_24h, 'links_7d', links.links_7d, 'recovered_24h', recovered.recovered_24h,
            'recovered_7d', recovered.recovered_7d
        )
        from links cross join recovered
    ),
    'integrity', (
        select jsonb_build_object(
            'matched_without_link', jobs.matched_without_link,
            'links_without_origin', links.links_without_origin,
            'stuck', jobs.stuck
        )
        from jobs cross join links
    ),
    'evolution', (
        select jsonb_build_object(
            'day_before', day_before.snapshot_date,
            'unresolved', jsonb_build_object(
                'before', day_before.unresolved, 'now', totals.unresolved,
                'change', totals.unresolved - day_before.unresolved
            ),
            'no_identity', jsonb_build_object(
                'before', day_before.no_identity, 'now', totals.no_identity,
                'change', totals.no_identity - day_before.no_identity
            ),
            'no_origin', jsonb_build_object(
                'before', day_before.no_origin, 'now', totals.no_origin,
                'change', totals.no_origin - day_before.no_origin
            ),
            'inconsistent_origin', jsonb_build_object(
                'before', day_before.inconsistent_origin, 'now', totals.inconsistent_origin,
                'change', totals.inconsistent_origin - day_before.inconsistent_origin
            )
        )
        from totals
        left join day_before on true -- 1 : 0..1
    )
)
