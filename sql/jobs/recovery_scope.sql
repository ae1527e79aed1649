-- Unresolved leads that a retry takes up, and why: never tried, or something relevant changed since (RB4, domain.md
-- 7.5, Q34, Q38). What would only fail again for the same reason is left out before the limit. The parts: filters,
-- conditions on standing; limited, how many. Leaves the tables recovery_standing (all unresolved leads, cause null
-- for those not to be tried) and recovery_scope; returns how many leads were left out, and whether all are to be
-- read: most of those without person are taken up, or one has rows between its first and its last.
create temp table recovery_standing on commit drop as
select
    gaps.lead_id,
    gaps.lead_date,
    gaps.gap_reason,
    gaps.person_key,
    case when gaps.gap_reason = 'no_identity' then 'match' else 'origin' end as kind,
    case
        when gaps.gap_reason = 'no_identity' and unmatched.status = 'IGNORED' then null -- set aside by a person
        when jobs.id is null then 'first'
        when jobs.status = 'matched' then 'reopened'
        when jobs.fail_reason = 'lead_not_found' then 'lead_changed'
        when gaps.gap_reason <> 'no_identity' then
            case
                when jobs.fail_reason is distinct from 'manual_origin_conflict' then 'linked'
                when not gaps.origin_is_held or gaps.origin_decided_at > jobs.last_attempt_at then 'origin_changed'
            end
        when unmatched.id is null or unmatched.status = 'RESOLVED' then 'reopened'
        when unmatched.is_stale then 'driver_changed'
        when jobs.rules_version is distinct from %(rules)s then 'rules_changed'
        when unmatched.reason_code is distinct from jobs.fail_reason then 'tried_elsewhere'
    end as cause,
    case when unmatched.status = 'OPEN' then unmatched.record_digest end as record_digest,
    gaps.first_row, gaps.last_row, gaps.has_more_rows
from ops.cabinet_lead_gaps as gaps
left join ops.identity_matching_jobs as jobs -- 1 lead : 0..1
    on jobs.source_type = 'cabinet' and jobs.source_id = gaps.lead_id
left join canon.identity_unmatched as unmatched -- 1 lead : 0..1
    on unmatched.source_table = 'module_ct_cabinet_leads' and unmatched.source_pk = gaps.lead_id
where gaps.gap_reason <> 'resolved';
create index on recovery_standing (lead_id);
analyze recovery_standing (lead_id, cause, kind);

-- Of the others, those whose row changed.
update recovery_standing as standing
set cause = 'lead_changed'
from (
    select records.source_pk, min(records.record_digest) as record_digest -- the row that matching lets speak
    from canon.stg_cabinet_leads as records
    where records.source_pk in (
            select unchanged.lead_id from recovery_standing as unchanged
            where unchanged.cause is null and unchanged.kind = 'match'
        )
    group by records.source_pk
) as records
where records.source_pk = standing.lead_id and standing.cause is null and standing.kind = 'match'
    and standing.record_digest <> records.record_digest;

create temp table recovery_scope on commit drop as
select standing.lead_id, standing.person_key, standing.kind, standing.cause, standing.first_row, standing.last_row,
    standing.has_more_rows
from recovery_standing as standing
where standing.cause is not null
    {filters}
order by standing.lead_date, standing.lead_id collate "C"
{limited};
create unique index on recovery_scope (lead_id);

-- The origin is one for all leads of a person: who goes along is recovered with it, whatever the limit.
insert into recovery_scope
select standing.lead_id, standing.person_key, standing.kind, standing.cause, standing.first_row, standing.last_row,
    standing.has_more_rows
from recovery_standing as standing
where standing.cause is not null and standing.kind = 'origin'
    and exists (select 1 from recovery_scope as scope where scope.person_key = standing.person_key)
    and not exists (select 1 from recovery_scope as scope where scope.lead_id = standing.lead_id);
analyze recovery_scope;

select
    (
        select count(*) from recovery_standing as standing
        where standing.cause is null
            {filters}
    ),
    (
        select count(*) > (select count(*) from recovery_standing where kind = 'match') / 2 or bool_or(has_more_rows)
        from recovery_scope where kind = 'match'
    )
