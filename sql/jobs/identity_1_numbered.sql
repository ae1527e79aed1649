-- Gathers the candidates of all feeds, numbers them and splits their names into words. With a limit the
-- oldest records come first. The inner offset keeps the splitting inside the parallel part of the query.
create temp table numbered on commit drop as
select
    row_number() over () as n,
    picked.*
from (
    select candidates.*, canon.name_tokens(candidates.name_norm) as tokens
    from (
        {feeds}
    ) as candidates
    {ordered_and_limited}
) as picked;
create index on numbered (n);
analyze numbered (n, source_table, source_pk, snapshot_at, phone_norm, license_norm, plate_norm, brand_norm);

-- A feed without unique index may hold a record twice: one row speaks for all.
with repeated as (
    select source_table, source_pk from numbered group by source_table, source_pk having count(*) > 1
),

ranked as (
    select
        numbered.n,
        row_number() over (
            partition by numbered.source_table, numbered.source_pk order by numbered.record_digest, numbered.n
        ) as place
    from numbered
    inner join repeated
        on repeated.source_table = numbered.source_table and repeated.source_pk = numbered.source_pk
)

delete from numbered using ranked where ranked.n = numbered.n and ranked.place > 1
