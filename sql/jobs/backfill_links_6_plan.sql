-- The plan: rows to link, with the columns of identity_9_plan, and rows whose outcome is not what was last told of them
-- (domain.md 6.11 (1)). Rows of one person share group_no. {plan} is the run's plan table.
create table {plan} as
with persons_seen as (
    select
        seen.n,
        jsonb_build_object('candidates', jsonb_agg(
            jsonb_build_object(
                'person_key', seen.person_key,
                'rule', case when seen.by_license then 'BACKFILL_LICENSE_MATCH' else 'BACKFILL_PHONE_MATCH' end,
                'score', case when seen.by_license then 80 else 70 end,
                'lacked', case when seen.contradicts then 'agreeing_name' else 'agreement_of_rules' end
            ) order by seen.place
        )) as candidates
    from (
        select
            pairs.n,
            pairs.person_key,
            bool_or(pairs.kind = 'license') as by_license,
            bool_or(pairs.contradicts) as contradicts,
            row_number() over (partition by pairs.n order by pairs.person_key) as place
        from pairs
        where pairs.person_key is not null
        group by pairs.n, pairs.person_key
    ) as seen
    where seen.place <= 3
    group by seen.n
),

lines as (
    select
        rulings.n, numbered.source_table, numbered.source_pk, rulings.result, rulings.reason, rulings.method,
        rulings.rule, rulings.score, rulings.confidence, rulings.person_key, rulings.is_new_person, rulings.driver_id,
        rulings.cluster,
        rulings.result = 'created' or (
            rulings.result = 'ambiguous' and (
                numbered.open_reason is null
                or (
                    numbered.open_reason in ('NO_CANDIDATES', 'MISSING_KEYS')
                    and numbered.open_reason <> rulings.reason
                )
            )
        ) as writes_record,
        numbered.is_fresh or numbered.told_result is distinct from rulings.result
        or numbered.told_reason is distinct from rulings.reason as is_news
    from rulings
    inner join numbered on numbered.n = rulings.n
    union all
    -- Rows left open before that somebody has linked since: told once, never changed.
    select
        null, links.source_table, links.source_pk, 'skipped_exists', null, 'none', null, null, null, null, false, null,
        null, false, true
    from (
        select distinct on (entries.source_table, entries.source_pk) -- per record the last
            entries.source_table, entries.source_pk, entries.match_result
        from ops.identity_links_backfill_audit as entries
        order by entries.source_table, entries.source_pk, entries.id desc
    ) as last_told
    inner join canon.identity_links as links -- 1 : 0..1
        on links.source_table = last_told.source_table and links.source_pk = last_told.source_pk
    where last_told.match_result in ('ambiguous', 'not_found')
),

placed as (
    select
        lines.*,
        dense_rank() over (
            order by lines.person_key, case when lines.person_key is null then lines.source_pk end collate "C"
        ) as group_no,
        row_number() over (
            partition by lines.person_key order by coalesce(matched.is_first_of_person, false) desc, lines.n
        ) = 1 and lines.person_key is not null as is_first_of_person
    from lines
    left join matched on matched.source_pk = lines.source_pk
    where lines.writes_record or lines.is_news
),

strengths as (
    select person_key, bool_or(confidence = 'HIGH') as is_high, bool_or(confidence = 'MEDIUM') as is_medium
    from rulings
    where result = 'created'
    group by person_key
)

select
    row_number() over (order by placed.group_no, placed.is_first_of_person desc, placed.n) as seq,
    placed.group_no,
    placed.source_table,
    placed.source_pk,
    placed.result,
    placed.reason,
    placed.method,
    placed.writes_record,
    numbered.payload ->> 'driver_license' as driver_license,
    numbered.payload ->> 'driver_phone' as driver_phone,
    jsonb_strip_nulls(jsonb_build_object(
        'record_digest', numbered.record_digest,
        'scout_id', numbered.scout_id,
        'license', numbered.license_norm,
        'phone', numbered.phone_norm,
        'rules', told_rules.rules,
        'candidates', case
            when placed.result = 'ambiguous'
                then coalesce(persons_seen.candidates, matched.candidates_preview) -> 'candidates'
        end
    )) as told_evidence,
    -- as identity_9_plan
    numbered.snapshot_at,
    coalesce(numbered.snapshot_at, numbered.recorded_at, now()) as recorded_at,
    numbered.event_date,
    numbered.scout_id,
    numbered.driver_id as named_driver_id,
    numbered.phone_norm,
    numbered.license_norm,
    numbered.plate_norm,
    numbered.name_norm,
    numbered.record_digest,
    numbered.payload,
    placed.person_key,
    placed.rule as match_rule,
    placed.score as match_score,
    placed.confidence as confidence_level,
    placed.driver_id as matched_driver_id,
    case when placed.person_key is not null then coalesce(matched.evidence, '{{}}') || jsonb_strip_nulls(
        jsonb_build_object(
            'created_by', 'backfill_identity_links_scouting_daily',
            'rule', placed.rule,
            'matched_rule', matched.match_rule,
            'license', case when placed.method in ('license', 'new_person') then numbered.license_norm end,
            'phone', case when placed.method in ('phone', 'new_person') then numbered.phone_norm end
        )
    ) end as evidence,
    coalesce(matched.links_driver, false) as links_driver,
    placed.is_first_of_person,
    placed.is_new_person,
    case
        when strengths.is_high then 'HIGH'
        when placed.is_new_person then case when strengths.is_medium then 'MEDIUM' else 'LOW' end
    end as person_confidence,
    coalesce(matched.person_phone, case when placed.is_first_of_person then founders.phone end) as person_phone,
    coalesce(matched.person_license, case when placed.is_first_of_person then founders.license end) as person_license,
    coalesce(matched.person_name, case when placed.is_first_of_person then founders.name end) as person_name,
    origins.origin_tag,
    origins.origin_source_id,
    origins.origin_confidence,
    origins.origin_created_at,
    origins.resolution_status,
    placed.reason as reason_code,
    matched.details,
    coalesce(persons_seen.candidates, matched.candidates_preview) as candidates_preview
from placed
left join numbered on numbered.n = placed.n
left join matched on matched.source_pk = placed.source_pk
left join (
    select results.n, jsonb_object_agg(results.rule, results.outcome) as rules from results group by results.n
) as told_rules on told_rules.n = placed.n
left join persons_seen on persons_seen.n = placed.n
left join strengths on strengths.person_key = placed.person_key
left join founders on founders.cluster = placed.cluster
left join origins on origins.person_key = placed.person_key and placed.is_first_of_person
