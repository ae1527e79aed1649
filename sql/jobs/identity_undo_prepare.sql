-- Roll-back of a run: an unmatched record that was resolved belongs to the person it was linked to, so that
-- record and link come back together or stay together. Reads and completes the temporary table undo.
update undo
set person_key = links.person_key
from undo as links
where undo.subject_table = 'identity_unmatched' and undo.person_key is null
    and links.subject_table = 'identity_links'
    and coalesce(links.after, links.before) ->> 'source_table' = coalesce(undo.after, undo.before) ->> 'source_table'
    and coalesce(links.after, links.before) ->> 'source_pk' = coalesce(undo.after, undo.before) ->> 'source_pk'
