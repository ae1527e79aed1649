-- Whether the record to be linked by hand is still in its feed (temporary table numbered, review_link_record).
select exists (select 1 from pg_temp.numbered)
