"""Leads that recovery gives back to people: contested origins, and records that no rule can link (domain.md 7.5, Q34)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg2 import sql

from ct4site.admin_base import Section, lima_time, link_to
from ct4site.jobs import statement
from ct4site.models import CaseKind, ReviewCase
from ct4site.review import kinds
from ct4site.review.kinds import Candidate, Choice, Deciding, Kind, Unacceptable, person_key_of
from identity import reviewing as unmatched
from identity.models import Link, Origin, OriginChange, Person, ReasonCode, SourceTable

# --- contested origins ----------------------------------------------------------------------------------

# The origin stays; who kept it against which lead, and what it was then, is remembered with it.
_KEEP = sql.SQL("""
evidence = case jsonb_typeof(before.evidence) when 'object' then before.evidence else '{{}}' end
    || jsonb_build_object(
        'kept_against', coalesce(before.evidence -> 'kept_against', '{{}}')
        || jsonb_build_object(%(lead_id)s::text, %(digest)s::text)
    )
""")

_ACCEPT = sql.SQL("""
origin_tag = 'cabinet_lead',
origin_source_id = %(lead_id)s,
origin_confidence = 100.00,
origin_created_at = leads.snapshot_date,
evidence = jsonb_build_object(
    'rule', 'decided_by_a_person', 'former_origin_tag', before.origin_tag,
    'former_origin_source_id', before.origin_source_id
),
decided_by = 'manual',
decided_at = statement_timestamp(),
resolution_status = 'resolved_manual'
""")


def _decide_origin(deciding: Deciding, changes: sql.SQL) -> Collection[uuid.UUID]:
    lead_id = deciding.case.subject_key
    with connection.cursor() as cursor:
        cursor.execute(
            "select person_key, cause_digest from ops.origin_conflict_causes where subject_key = %s", [lead_id]
        )
        found = cursor.fetchone()
    if found is None or found[0] != deciding.case.person_key:
        raise Unacceptable(_("The lead no longer contradicts the origin of its person."))
    person_key, digest = found
    statement(
        "review_origin",
        {
            "lead_id": lead_id,
            "person_key": person_key,
            "digest": digest,
            **deciding.by,
        },
        changes=changes.format(),
    )
    return ()


ORIGIN_CHOICES = (
    Choice(
        code="keep_origin",
        label=gettext_lazy("Keep the origin"),
        help=gettext_lazy("The origin stays as it was decided. The lead raises it again only if something changes."),
        apply=lambda deciding: _decide_origin(deciding, _KEEP),
        persons=kinds.persons_of,
    ),
    Choice(
        code="accept_lead",
        label=gettext_lazy("The lead is the origin"),
        help=gettext_lazy("The person came with this lead. No job changes that."),
        apply=lambda deciding: _decide_origin(deciding, _ACCEPT),
        persons=kinds.persons_of,
    ),
)


def _origin_of(case: ReviewCase) -> Origin | None:
    """Return the origin of the person of a case; read once for a page."""
    origins = Origin.objects.filter(person=person_key_of(case)).select_related("person")
    return kinds.once(case, "origin", origins.first)


def _why_contested(case: ReviewCase) -> str:
    origin = _origin_of(case)
    if origin is None:
        return _("The lead no longer contradicts the origin of its person.")
    values = {"lead": case.subject_key, "origin": origin.get_origin_tag_display(), "record": origin.origin_source_id}
    if origin.decided_by == "manual":
        return _("A person decided that the origin is %(origin)s %(record)s; lead %(lead)s says otherwise.") % values
    values["status"] = origin.get_resolution_status_display()
    return (
        _("The origin, %(origin)s %(record)s, is held as “%(status)s”; lead %(lead)s says otherwise.") % values
    )  # fmt: skip


def _origin_evidence(case: ReviewCase) -> Iterable[Section]:
    from identity.admin.persons import origin_history  # screens; they need all apps
    from recovery.admin.parts import source_section, tries_section

    yield source_section(case.subject_key)
    yield origin_history(OriginChange.objects.filter(person=person_key_of(case)))
    yield _records(person_key_of(case))
    yield tries_section(case.subject_key)


def _records(person_key: uuid.UUID) -> Section:
    links = Link.objects.filter(person=person_key).exclude(source_table=SourceTable.DRIVERS)
    columns = {
        _("Record"): lambda link: link_to(link),
        _("Date"): lambda link: link.snapshot_date,
        _("Linked"): lambda link: link.linked_at,
    }
    return Section.of(_("Records of the person"), columns, links.order_by("snapshot_date", "id"))


def _origin_candidates(case: ReviewCase) -> Sequence[Candidate]:
    from attribution.admin.claims import days_text
    from attribution.admin.labels import day

    origin = _origin_of(case)
    link = Link.objects.filter(source_table=SourceTable.CABINET, source_pk=case.subject_key).first()
    if origin is None or link is None:
        return ()
    kept, of_lead = lima_time(origin.origin_created_at), lima_time(link.snapshot_date)
    days = (timezone.localdate(link.snapshot_date) - timezone.localdate(origin.origin_created_at)).days
    values = {"days": days_text(abs(days)), "date": day(timezone.localdate(origin.decided_at))}
    if days == 0:
        sentence = _("Decided on %(date)s. The lead came on the same day.") % values
    elif days > 0:
        sentence = _("Decided on %(date)s. The lead came %(days)s later than it.") % values
    else:
        sentence = _("Decided on %(date)s. The lead came %(days)s earlier than it.") % values
    return [
        Candidate(
            title=_("%(origin)s %(record)s, as it is now")
            % {"origin": origin.get_origin_tag_display(), "record": origin.origin_source_id},
            sentence=sentence,
            facts={_("Date"): (of_lead, kept), _("Confidence"): ("", origin.origin_confidence)},
            choice="keep_origin",
        ),
        Candidate(
            title=_("Cabinet lead %(lead)s") % {"lead": case.subject_key},
            sentence=_("It is linked to the person; a cabinet lead comes before any other origin."),
            facts={_("Date"): (kept, of_lead), _("Rule of the link"): ("", link.match_rule)},
            choice="accept_lead",
        ),
    ]


ORIGIN = Kind(
    code=CaseKind.ORIGIN,
    causes="ops.origin_conflict_causes",
    choices=lambda case: ORIGIN_CHOICES,
    title=lambda case: str(Person.objects.filter(pk=person_key_of(case)).first() or case.subject_key),
    why=_why_contested,
    evidence=_origin_evidence,
    candidates=_origin_candidates,
    causes_in_words={"manual_origin_conflict": gettext_lazy("A lead contradicts an origin that a person decided")},
)
kinds.register(ORIGIN)


# --- records that no rule can link ------------------------------------------------------------------------


UNMATCHED_CAUSES = {
    **dict(ReasonCode.choices),
    "GIVEN_UP": gettext_lazy("Tried too often"),
}


def _why_unmatched(case: ReviewCase) -> str:
    record = unmatched.unmatched_of(case)
    if record is None:
        return kinds.cause_label(case)
    if case.raised_by == "GIVEN_UP":
        return _("It was tried too often: %(why)s.") % {"why": record.get_reason_code_display()}
    return _("No rule can link it: %(why)s.") % {"why": record.get_reason_code_display()}


def _unmatched_title(case: ReviewCase) -> str:
    record = unmatched.unmatched_of(case)
    return str(record) if record is not None else case.subject_key


def _unmatched_evidence(case: ReviewCase) -> Iterable[Section]:
    from recovery.admin.parts import tries_section

    yield from unmatched.evidence(case)
    table, key = unmatched.record_of(case)
    if table == SourceTable.CABINET:
        yield tries_section(key)


def _record_in_words(case: ReviewCase) -> str:
    table, key = unmatched.record_of(case)
    return f"{dict(SourceTable.choices).get(table, table)} {key}"


UNMATCHED = Kind(
    code=CaseKind.UNMATCHED,
    causes="ops.unmatched_causes",
    choices=unmatched.choices,
    candidates=unmatched.candidates,
    title=_unmatched_title,
    why=_why_unmatched,
    evidence=_unmatched_evidence,
    causes_in_words=UNMATCHED_CAUSES,
    subject_in_words=_record_in_words,
    narrowed_by="""
        (source_table, source_pk) in (
            select split_part(wanted, ':', 1), substr(wanted, strpos(wanted, ':') + 1)
            from unnest({keys}) as keys (wanted)
        )
    """,
)
kinds.register(UNMATCHED)
