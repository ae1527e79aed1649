-- chk_settlement_lines_add_up
-- What a line says was settled before it is not the sum of the lines before it, so that an item was settled twice or
-- with something missing; or a line stands under another key than that of its own fields.
-- Remedy: none by hand; report the item. The next closing writes what is still owed, or takes back what is too much.
with numbered as (
    select
        lines.id,
        lines.payment_item_key,
        lines.settled_before,
        lag(lines.owed_amount) over (partition by lines.payment_item_key, lines.currency order by lines.id)
            as settled_after_former,
        ops.payment_item_key(
            lines.scout_id, lines.person_key, lines.origin_tag, lines.milestone_type, lines.milestone_value
        ) as own_key
    from ops.settlement_lines as lines
)

select
    'line ' || numbered.id as subject,
    'settled before ' || numbered.settled_before || ', by the lines before it '
    || coalesce(numbered.settled_after_former::text, 'nothing') as problem
from numbered
where numbered.payment_item_key <> numbered.own_key
    or numbered.settled_before <> numbered.settled_after_former;
