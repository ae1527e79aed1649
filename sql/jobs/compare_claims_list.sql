-- Keeps the list of existing claims that was staged in the temporary table listed_claims, unless the very same rows are
-- kept already. Returns the id of the list, and whether it is new.
with given as materialized (
    select
        staged.*,
        coalesce(staged.status, case when staged.paid then 'paid' else 'expected' end) as told_status
    from listed_claims as staged
),

told as (
    select
        encode(sha256(convert_to(
            coalesce(string_agg(facts.row_text, e'\n' order by facts.row_text collate "C"), ''), 'UTF8'
        )), 'hex') as digest,
        count(*) as rows_count,
        coalesce(sum(facts.amount_expected), 0) as amount
    from (
        select
            given.amount_expected,
            jsonb_build_array(
                given.driver_id, given.milestone, given.amount_expected, given.told_status, given.person_key,
                given.lead_source_pk, given.lead_date, extract(epoch from given.paid_at)
            )::text as row_text
        from given
    ) as facts
),

made as (
    insert into ops.existing_claim_lists (file_name, digest, rows_count, amount, run_id)
    select %(file_name)s, told.digest, told.rows_count, told.amount, %(run_id)s
    from told
    on conflict (digest) do nothing
    returning id
),

kept as (
    insert into ops.existing_claims (
        claim_list_id, line, driver_id, milestone, amount_expected, status, person_key, lead_source_pk, lead_date,
        paid_at
    )
    select
        made.id, given.line, given.driver_id, given.milestone, given.amount_expected, given.told_status,
        given.person_key, given.lead_source_pk, given.lead_date, given.paid_at
    from given
    cross join made
    order by given.line
    returning 1
)

select made.id, true
from made
union all
select lists.id, false
from ops.existing_claim_lists as lists
inner join told on told.digest = lists.digest
