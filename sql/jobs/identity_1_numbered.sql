-- Numbers the candidates and splits their names into words; one row per source record, the oldest ones
-- first when there is a limit.
create temp table numbered on commit drop as
select
    row_number() over () as n,
    picked.*,
    canon.name_tokens(picked.name_norm) as tokens
from (
    select candidates.* from candidates {ordered_and_limited}
) as picked;

-- A feed without unique index may hold a record twice: one of them speaks for both.
delete from numbered using numbered as twin
where twin.source_table = numbered.source_table and twin.source_pk = numbered.source_pk
    and (twin.record_digest, twin.n) < (numbered.record_digest, numbered.n);
create index on numbered (n);
analyze numbered
