"""A claim explained: in plain words, day by day, with its payment, its scout and what became of it (domain.md 12)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import connection
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attribution.admin import history
from attribution.admin import labels as attribution_labels
from attribution.admin.claims import days_text
from attribution.admin.collection import labels
from attribution.models import (
    Claim,
    ClaimInCollection,
    LedgerEntry,
    OriginTag,
    PartnerPaymentRule,
    PaymentState,
    PersonScout,
    ScoutQuality,
    YangoPayment,
)
from ct4site.admin import audit_section
from ct4site.admin_base import LARGEST_KEY, NOTHING, Section, lima_time, link_to, pill, whole_number, words
from ct4site.models import AuditEntry
from identity.admin import records
from identity.models import CabinetPayment, DriverIndexEntry, LeadEvent, SourceTable
from orphans.models import QuarantinedDriver

# The partner's window where a claim lost its rule (domain.md 12.4).
WINDOW = 14
MOST = 100

# As observational.stg_summary_daily counts: of a day told twice the row loaded last. Asked of the table, by the feed's
# spellings of one account, so that an index serves it; the view reads all days of all accounts.
_DAYS = """
select distinct on (told.day) told.day, told.trips, told.seconds
from (
    select
        canon.parse_day(summaries.date_file) as day, coalesce(summaries.count_orders_completed, 0) as trips,
        coalesce(summaries.sum_work_time_seconds, 0) as seconds, summaries.*
    from public.summary_daily as summaries
    where summaries.driver_id = any(%(spellings)s)
) as told
where told.day >= %(first)s and told.day < %(end)s
order by
    told.day, told.created_at desc nulls last, told.count_orders_completed desc nulls last,
    told.sum_work_time_seconds desc nulls last, told.date_file collate "C"
"""


@dataclass(frozen=True)
class Day:
    """One day of the window: its place (0 is the day of the lead), what was driven, and all since the lead."""

    place: int
    date: datetime.date
    trips: int
    seconds: int
    total: int


def days_of(driver_id: str, lead_date: datetime.date, window: int) -> list[Day]:
    """Return every day of an account's half-open window from a lead on, with the trips since (domain.md 12.2, Q61)."""
    end = lead_date + datetime.timedelta(days=window)
    with connection.cursor() as cursor:
        cursor.execute(
            _DAYS, {"spellings": [driver_id, driver_id.upper()], "first": lead_date, "end": end}
        )  # fmt: skip
        driven = {day: (trips, seconds) for day, trips, seconds in cursor.fetchall()}
    found, total = [], 0
    for place in range(window):
        date = lead_date + datetime.timedelta(days=place)
        trips, seconds = driven.get(date, (0, 0))
        total += trips
        found.append(Day(place, date, trips, seconds, total))
    return found


@dataclass(frozen=True)
class Story:
    """All that the page of one claim tells; ``row`` is None for an account that may not operate."""

    claim: Claim
    row: ClaimInCollection | None
    rule: PartnerPaymentRule | None
    window: int
    days: list[Day]
    milestones: list[int]
    states: list[PaymentState]
    scout: PersonScout | None
    entry: LedgerEntry | None
    names: attribution_labels.Names
    lead_row: Any

    @property
    def name(self) -> str | None:
        return self.row.driver_name if self.row else None

    @property
    def reached(self) -> Day | None:
        """The day on which today's trips reach the milestone."""
        return next((day for day in self.days if day.total >= self.claim.milestone), None)

    def sentences(self) -> Iterator[SafeString | str]:
        """Return the claim in plain words."""
        claim = self.claim
        achieved = claim.achieved_date
        values: dict[str, Any] = {
            "driver": self.name or claim.driver_id or _("The driver"), "trips": labels.trips(claim.milestone),
            "window": days_text(self.window), "lead": attribution_labels.day(claim.lead_date),
            "date": attribution_labels.day(achieved), "amount": labels.money(claim.amount_expected),
            "number": (achieved - claim.lead_date).days + 1 if achieved else "",
            "due": attribution_labels.day(self.row.yango_due_date) if self.row else "",
        }  # fmt: skip
        if achieved is not None:
            yield (
                _(
                    "%(driver)s reached %(trips)s on %(date)s: day %(number)s of the %(window)s that begin with the lead"
                    " of %(lead)s."
                )
                % values
            )
        else:
            yield (_("The claim is for %(trips)s within the %(window)s that begin with the lead of %(lead)s.") % values)
        yield from self._contradictions(values)
        if self.row is None:
            yield _("The account may not operate, so the claim is in no list, no sum and no export of collection.")
            return
        yield from self._payment(self.row, values)

    def _contradictions(self, values: Mapping[str, Any]) -> Iterator[SafeString | str]:
        reached = self.reached
        if self.claim.eligibility_disputed:
            yield _(
                "Disputed: by the days as they are told now, the account did not earn it. The claim stays, but we do not"
                " demand it."
            )
        if reached is None:
            yield _("The days told now come to %(total)s in that time.") % {
                "total": labels.trips(self.days[-1].total if self.days else 0)
            }
        elif reached.date != self.claim.achieved_date:
            yield _("By the days told now it was reached on %(date)s; a claim stays as it was made.") % {
                "date": attribution_labels.day(reached.date)
            }

    def _payment(self, row: ClaimInCollection, values: Mapping[str, Any]) -> Iterator[str]:
        if self.claim.eligibility_disputed:
            yield _("It was made for %(amount)s, due on %(due)s.") % values
        else:
            yield _("The partner owes %(amount)s for it, due on %(due)s.") % values
        if row.is_paid:
            paid = {"date": attribution_labels.day(row.pay_date)}
            yield _("Its list says paid, on %(date)s.") % paid if row.pay_date else _("Its list says paid.")
            return
        if row.days_overdue_yango:
            yield _("It is not paid: %(days)s overdue.") % {"days": days_text(row.days_overdue_yango)}
        else:
            yield _("It is not paid and not overdue.")
        if row.reason_code == "payment_found_other_milestone":
            yield _("The partner paid another milestone of this account, which pays nothing of this one.")
        elif row.reason_code == "payment_found_person_key_only":
            yield _("The same milestone is paid for the same person, but not for this account; see its payments below.")

    def rule_in_words(self) -> SafeString | str:
        if self.rule is None:
            return NOTHING
        values = {
            "amount": labels.money(self.rule.amount, self.rule.currency),
            "trips": labels.trips(self.rule.milestone_trips), "days": days_text(self.rule.window_days),
        }  # fmt: skip
        text = _("%(amount)s for %(trips)s within %(days)s") % values
        return format_html(
            '{} <span class="quiet small">{} {}</span>',
            link_to(self.rule, text),
            _("leads"),
            labels.validity(self.rule),
        )

    def lead(self) -> SafeString | str:
        event = LeadEvent(source_table=SourceTable.CABINET, source_pk=self.claim.lead_source_pk)
        return records.record_label(event, self.lead_row)

    def due_in_words(self) -> SafeString | str:
        if self.row is None:
            return NOTHING
        due = lima_time(self.row.yango_due_date)
        return due if self.row.is_paid else format_html("{} {}", due, labels.bucket(self.row))

    def payment_in_words(self) -> SafeString | str:
        if self.row is None:
            return pill("not", _("Not in collection"), "plain")
        told = words(labels.PARTNER_WORDS, self.row.yango_payment_status)
        return format_html(
            '{} <span class="quiet small">{} {}</span>', labels.payment(self.row), _("as the partner is told:"), told
        )

    def scout_in_words(self) -> SafeString | str:
        if self.scout is None or self.scout.scout_id is None:
            return _("No source names a scout.")
        quality = dict(ScoutQuality.choices).get(self.scout.scout_quality_bucket or "", "")
        named = attribution_labels.scout(self.scout.scout_id, self.names)
        return format_html('{} <span class="quiet small">{}</span>', named, quality)


def of(claim: Claim) -> Story:
    """Return the story of a claim: a fixed handful of look-ups."""
    row = ClaimInCollection.objects.filter(pk=claim.pk).first()
    rule = claim.rule
    window = rule.window_days if rule else WINDOW
    entry = LedgerEntry.objects.filter(pk=claim.person_id).first() if claim.person_id else None
    scout = PersonScout.objects.filter(pk=claim.person_id).first() if claim.person_id else None
    wanted = [*(history.scouts_in(entry) if entry else []), scout.scout_id if scout else None]
    milestones = PartnerPaymentRule.objects.filter(
        origin_tag=OriginTag.CABINET, window_days=window, is_active=True, valid_from__lte=claim.lead_date
    )
    key = (str(SourceTable.CABINET), claim.lead_source_pk)
    return Story(
        claim=claim,
        row=row,
        rule=rule,
        window=window,
        days=days_of(claim.driver_id, claim.lead_date, window) if claim.driver_id else [],
        milestones=sorted({*milestones.values_list("milestone_trips", flat=True), claim.milestone}),
        states=list(
            PaymentState.objects.filter(driver_id=claim.driver_id).order_by("milestone_value", "payment_key")[:MOST]
        ) if claim.driver_id else [],
        scout=scout,
        entry=entry,
        names=attribution_labels.scouts_by_number(wanted),
        lead_row=records.source_rows([key]).get(key),
    )  # fmt: skip


# --- sections -----------------------------------------------------------------------------------------


def sections(told: Story) -> Iterator[Section]:
    """Return the tables of a claim's page."""
    yield _day_by_day(told)
    yield _payments(told)
    yield _scout(told)
    yield _others(told)
    if told.row is None and told.claim.driver_id:
        yield _why_not(told.claim.driver_id)
    yield audit_section(
        AuditEntry.objects.filter(
            person_key=told.claim.person_id, subject_table=Claim._meta.db_table, subject_key=str(told.claim.pk)
        )
    )


def _day_by_day(told: Story) -> Section:
    rows = []
    before = 0
    for day in told.days:
        marks = [number for number in told.milestones if before < number <= day.total]
        before = day.total
        rows.append(
            (
                day.place + 1, lima_time(day.date), intcomma(day.trips), _hours(day.seconds), intcomma(day.total),
                _reached(marks, told.claim.milestone),
            )
        )  # fmt: skip
    end = told.claim.lead_date + datetime.timedelta(days=told.window)
    values = {
        "window": days_text(told.window),
        "end": attribution_labels.day(end),
        "driver": told.claim.driver_id or NOTHING,
    }
    return Section(
        title=_("Day by day"),
        columns=[_("Day"), _("Date"), _("Trips"), _("Connected"), _("Trips since the lead"), _("Reached")],
        rows=rows,
        is_list=False,
        note=_("Trips of the account %(driver)s; the %(window)s end before %(end)s.") % values,
    )


def _hours(seconds: int) -> str:
    return _("%(hours)s h") % {"hours": number_format(seconds / 3600, 1)} if seconds else NOTHING


def _reached(marks: list[int], milestone: int) -> SafeString | str:
    if not marks:
        return NOTHING
    shown = [pill("reached", f"M{number}", "good" if number == milestone else "plain") for number in marks]
    return format_html("{}" + " {}" * (len(shown) - 1), *shown)  # fmt: skip


def _payments(told: Story) -> Section:
    """Every state the partner's list had of this account's milestones; of the claimed one first, the newest first."""
    by_place = {(state.source_pk, state.milestone_value): state for state in told.states}
    seen = (
        list(
            YangoPayment.objects.filter(
                source_pk__in={state.source_pk for state in told.states},
                milestone_value__in={state.milestone_value for state in told.states},
            ).order_by("-id")[: MOST + 1]
        )
        if told.states
        else []
    )
    found = [item for item in seen if (item.source_pk, item.milestone_value) in by_place]
    found.sort(key=lambda item: (item.milestone_value != told.claim.milestone, item.milestone_value))
    current = {state.ledger_id for state in told.states}
    rows = [
        (
            labels.milestone(item.milestone_value), link_to(item, lima_time(item.snapshot_at)), labels.is_paid(item.is_paid),
            pill("now", _("Now"), "info") if item.pk in current else NOTHING, lima_time(item.pay_date),
            item.raw_driver_name or NOTHING, labels.identity(by_place[item.source_pk, item.milestone_value].identity_status),
            payment_record(item.source_pk),
        )
        for item in found[:MOST]
    ]  # fmt: skip
    columns = [
        _("Milestone"), _("Seen"), _("The list said"), _("State"), _("Pay date"), _("Name in the list"), _("Whose it is"),
        _("Record"),
    ]  # fmt: skip
    return Section(title=_("Payments of the account"), columns=columns, rows=rows, has_more=len(seen) > MOST)


def payment_record(source_pk: str) -> SafeString | str:
    """Return a row of the partner's list as a link."""
    number = format_html('<span class="key">{}</span>', source_pk)
    key = whole_number(source_pk, LARGEST_KEY)
    return number if key is None else link_to(CabinetPayment(pk=key), number)


def _scout(told: Story) -> Section:
    rows: list[tuple[Any, ...]] = []
    scout = told.scout
    if scout is not None and scout.scout_id is not None:
        rows.append((_("Scout"), attribution_labels.scout(scout.scout_id, told.names)))
        quality = dict(ScoutQuality.choices).get(scout.scout_quality_bucket or "", scout.scout_quality_bucket)
        rows.append((_("Known by"), str(quality or NOTHING)))
        rows.append((_("Source"), words(attribution_labels.SOURCES, scout.source_table)))
        rows.append((_("Attributed"), lima_time(scout.attribution_date)))
    if scout is not None and scout.has_open_conflict:
        conflict = _("Several scouts claim the person; nothing is settled until a person decides.")
        rows.append((_("Conflict"), format_html("{} {}", pill("open", _("Open"), "bad"), conflict)))
    if told.entry is not None:
        said = attribution_labels.decision(told.entry.decision_status, told.entry.attributed_scout_id)
        rows.append((_("Ledger"), link_to(told.entry, said)))
        rows.append((_("Why"), history.explanation(told.entry, told.names)))
    return Section(title=_("Scout, and why"), columns=["", _("Now")], rows=rows, is_list=False)


def _others(told: Story) -> Section:
    claim = told.claim
    columns = {
        _("Milestone"): lambda other: link_to(other, f"M{other.milestone}"),
        _("Lead"): lambda other: other.lead_date,
        _("Reached"): lambda other: other.achieved_date,
        _("Amount"): lambda other: labels.money(other.amount_expected),
        _("Status"): labels.status,
    }
    others = Claim.objects.filter(driver_id=claim.driver_id).exclude(pk=claim.pk).order_by("milestone")
    return Section.of(
        _("Other claims of the account"), columns, others if claim.driver_id else Claim.objects.none(), MOST
    )


def _why_not(driver_id: str) -> Section:
    """Why an account may not operate: in quarantine, or linked to nobody who has a lead (domain.md 9.7)."""
    quarantined = QuarantinedDriver.objects.filter(driver_id=driver_id).first()
    known = DriverIndexEntry.objects.filter(pk=driver_id).first()
    if quarantined is not None and quarantined.status in ("quarantined", "purged"):
        why: Any = link_to(quarantined, quarantined.get_status_display())
    else:
        why = _("It is linked to no person who has a lead.")
    account = link_to(known, driver_id) if known else driver_id
    return Section(
        title=_("Why it is not in collection"), columns=[_("Driver"), _("Why")], rows=[(account, why)], is_list=False
    )
