-- chk_link_rests_on_a_real_key
-- A link's evidence is a placeholder or a phone that is no mobile: such a value links nobody (I6, domain.md 4.5).
-- Links loaded as history are not judged: the predecessor had other rules, and its junk is reported by the load (Q3).
-- Remedy: take back the run that made the link; the value belongs into the list of placeholders.
select
    links.source_table || ' ' || links.source_pk as subject,
    'linked by a placeholder' as problem
from canon.identity_links as links
where links.evidence -> 'legacy' is distinct from 'true'
    and (
        (
            links.match_rule = 'R1_PHONE_EXACT'
            and (
                links.evidence ->> 'phone_normalized' is null
                or canon.normalize_phone(links.evidence ->> 'phone_normalized') is null
                or links.evidence ->> 'phone_normalized' !~ '^9[0-9]{8}$'
            )
        )
        or (
            links.match_rule = 'R2_LICENSE_EXACT'
            and canon.normalize_license(links.evidence ->> 'license_normalized') is null
        )
        or (
            links.match_rule like 'R3%'
            and canon.normalize_plate(links.evidence ->> 'plate_normalized') is null
        )
    );
