-- Who holds a key beside a row, whether the two can be one human, and which rows are one (Q76, Q79, domain.md 5.3).
-- Names contradict as everywhere; one phone with two licences is one human only under one
-- name. A key whose holders contradict each other founds nobody; whom a person refused contradicts. Fills pairs,
-- contested, known and clusters.

create temp table pairs on commit drop as
select
    mine.kind,
    mine.key,
    mine.n,
    theirs.n as other_n,
    theirs.person_key,
    (
        %(contradiction_blocks)s and cardinality(mine.tokens) >= 2 and cardinality(theirs.tokens) >= 2
        and not canon.names_share_token(mine.tokens, theirs.tokens)
    )
    or (
        mine.kind = 'phone' and mine.license <> theirs.license
        and not canon.may_be_one_human(mine.tokens, mine.license, theirs.tokens, theirs.license)
    ) is true
    or exists (
        select 1 from refused_persons
        where refused_persons.n = mine.n and refused_persons.person_key = theirs.person_key
    ) as contradicts
from crowds
inner join holders as mine on mine.kind = crowds.kind and mine.key = crowds.key and mine.n is not null
inner join holders as theirs -- n : n, at most the limits each
    on theirs.kind = crowds.kind and theirs.key = crowds.key and theirs.n is distinct from mine.n
where not crowds.is_crowded and not crowds.is_too_large;
create index on pairs (n);
analyze pairs;

create temp table contested on commit drop as
select kind, key from pairs where contradicts group by kind, key;
create index on contested (kind, key);

-- Persons known by one of a row's keys; a person of whom anything contradicts is none.
create temp table known on commit drop as
select n, person_key, bool_or(kind = 'license') as by_license
from pairs
where person_key is not null
group by n, person_key
having not bool_or(contradicts);
create index on known (n);

-- Keys that may found a person.
create temp table own_keys on commit drop as
select loose_keys.n, loose_keys.kind, loose_keys.key
from loose_keys
left join crowds on crowds.kind = loose_keys.kind and crowds.key = loose_keys.key
left join contested on contested.kind = loose_keys.kind and contested.key = loose_keys.key
where contested.key is null and not coalesce(crowds.is_crowded or crowds.is_too_large, false);
create index on own_keys (n);
create index on own_keys (kind, key);
analyze own_keys;

create temp table edges on commit drop as
select pairs.n as one, pairs.other_n as other
from pairs
left join contested on contested.kind = pairs.kind and contested.key = pairs.key
where pairs.other_n is not null and contested.key is null
group by pairs.n, pairs.other_n;
create index on edges (one);

create temp table clusters on commit drop as
select n, n as cluster from loose;
create index on clusters (n);
analyze edges;
analyze clusters
