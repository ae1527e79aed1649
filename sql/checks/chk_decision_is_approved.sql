-- chk_decision_is_approved
-- A decision rests on a proposal that no other person approved, or one person alone did again what two had done (I9).
-- Remedy: look at the decision with the person who would have had to approve it; take it back if that person would not.
select
    decisions.id::text as subject,
    case
        when proposals.id is null then 'does again what was approved, without approval'
        else 'its proposal is not approved'
    end as problem
from ops.review_decisions as decisions
left join ops.review_proposals as proposals on proposals.id = decisions.proposal_id -- 1 : 0..1
left join ops.review_decisions as undone on undone.id = decisions.reverses_id -- 1 : 0..1
left join ops.review_decisions as again on again.id = undone.reverses_id -- 1 : 0..1
where case
        when proposals.id is null then again.proposal_id is not null
        else proposals.status <> 'APPROVED' or proposals.proposed_by_id <> decisions.actor_id
    end;
