-- Leads that the recovery impact job leaves alone: nobody yet, or with an origin that a person decided (RB2, Q34, Q48).
select count(*)
from ops.cabinet_lead_identity as leads
where leads.person_key is null or leads.origin_is_held
