-- One text that changes with every row written into a table that claims of scouts come from, by whomever: most belong
-- to other systems, which tell nobody. A row written again has another xmin; a row gone changes the count.
select md5(concat_ws(
    ' ',
    (
        select concat_ws(':', count(*), sum(rows.xmin::text::bigint))
        from public.module_ct_scouting_daily as rows
    ),
    (
        select concat_ws(':', count(*), sum(rows.xmin::text::bigint))
        from public.module_ct_migrations as rows
    ),
    (
        select concat_ws(':', count(*), sum(rows.xmin::text::bigint))
        from public.module_ct_cabinet_payments as rows
    ),
    (
        select concat_ws(':', count(*), sum(rows.xmin::text::bigint))
        from observational.lead_events as rows
    ),
    (
        select concat_ws(':', count(*), sum(rows.xmin::text::bigint))
        from observational.lead_ledger as rows
    )
))
