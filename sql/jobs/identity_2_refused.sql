-- What a person refused for the records in question: persons, and drivers, those of a refused person included (F30).
-- Mostly nothing: every reader of these tables costs nothing then.
create temp table refused_persons on commit drop as
select numbered.n, refusals.person_key, refusals.driver_id
from canon.refused_matches as refusals
inner join numbered on numbered.source_table = refusals.source_table and numbered.source_pk = refusals.source_pk;

create temp table refused on commit drop as
select n, driver_id from refused_persons where driver_id is not null
union -- a driver may be refused himself and with his person
select refused_persons.n, links.source_pk
from refused_persons
inner join canon.identity_links as links -- 1 person : n drivers
    on links.person_key = refused_persons.person_key and links.source_table = 'drivers';
create index on refused (n);
analyze refused_persons;
analyze refused
