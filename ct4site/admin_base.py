"""Base classes of the admin's screens: lists that stay fast, pages that cannot write, search by any format.

A screen of rules is read-only (architecture.md, "Views are read-only by construction"); a decision is an operation
behind its own permission. Origin of the refusals below: reliability.md 3 (items 9 to 11), F2, F5, F6, F16, F25, F27.
"""

import contextlib
import datetime
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from operator import or_
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import psycopg2.errors
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db import DataError, OperationalError, connection, models, transaction
from django.db.models import BooleanField, F, Func, Q, QuerySet, TextField, Value
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils import dateformat, timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site import privacy, sealing
from ct4site.models import AuditEntry
from ct4site.paginators import CappedPaginator, Keyset

LIMA = ZoneInfo("America/Lima")
AFTER_VAR, BEFORE_VAR = "after", "before"
LONGEST_SEARCH = 200
LARGEST_ID = 2**31 - 1  # of an integer column
LARGEST_KEY = 10**18 - 1  # of a bigint column, with room to spare
NOTHING = "–"
# The button that shows personal data; in a session the page it was pressed for, which has to be opened at once.
REVEAL, REVEAL_SECONDS = "reveal", 60

# --- what addresses ask ---------------------------------------------------------------------------

YES_NO = [("yes", gettext_lazy("Yes")), ("no", gettext_lazy("No"))]


def whole_number(text: str, largest: int) -> int | None:
    """Return the number that a text from an address is, at most ``largest``; None for anything else."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(largest)) and int(text) <= largest:
        return int(text)
    return None


class OpenFirstFilter(admin.SimpleListFilter):
    """By a stored code of ``column``; those that wait for somebody, ``first``, unless asked otherwise."""

    title = gettext_lazy("status")
    parameter_name = "status"
    column = "status"
    codes: type[models.TextChoices]
    first: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*self.codes.choices, ("all", gettext_lazy("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        chosen = self.value() or self.first
        for value, title in self.lookup_choices:
            yield {
                "selected": str(chosen) == str(value),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value() or self.first
        return queryset if value == "all" else queryset.filter(**{self.column: value})


class YesNoFilter(admin.SimpleListFilter):
    """By a column that is true or false."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return YES_NO

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        wanted = {"yes": True, "no": False}.get(self.value() or "")
        return queryset if wanted is None else self.narrowed(queryset, wanted)

    def narrowed(self, queryset: QuerySet, wanted: bool) -> QuerySet:
        """Return the rows that are so, or are not so; override it where no column says it."""
        return queryset.filter(**{self.column: wanted})


class CodeFilter(admin.SimpleListFilter):
    """By a stored code of ``column``, offered in words."""

    column = ""
    words: ClassVar[Mapping[str, Any]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.words.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


# --- lists ----------------------------------------------------------------------------------------


class KeysetChangeList(ChangeList):
    """The admin's list, paged by position: a deep page costs what the first one costs, no row is counted twice."""

    is_keyset = True

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet:
        for name in (AFTER_VAR, BEFORE_VAR):
            # Out of the parameters, so that a filter, a search or a sort starts again on its first page.
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[Any]:
        ordering = list(super().get_ordering(request, queryset))
        if len(ordering) > 1 and ordering[-1] == "-pk":
            before = ordering[-2]
            if not (before.descending if hasattr(before, "descending") else str(before).startswith("-")):
                # One direction for all terms, so that one index (term, key) serves the page.
                ordering[-1] = "pk"
        return ordering

    def get_ordering_field(self, field_name: Any) -> Any:
        # The stock list hides the link of a column outside ``sortable_by`` but still sorts by it when asked.
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None

    def get_results(self, request: HttpRequest) -> None:
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        rows, earlier, later = Keyset(self.queryset, self.list_per_page, anchors=self.root_queryset).page(
            after=self._key(request, AFTER_VAR), before=self._key(request, BEFORE_VAR)
        )
        if not (earlier or later):
            self.paginator.counted = len(rows)
        self.result_list = rows
        self.result_count = self.paginator.count
        self.show_full_result_count = False
        self.full_result_count = None
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = earlier or later
        self.first_url = self.get_query_string()
        self.previous_url = self.get_query_string({BEFORE_VAR: str(rows[0].pk)}) if earlier and rows else ""
        if earlier and not rows:
            self.previous_url = self.first_url
        self.next_url = self.get_query_string({AFTER_VAR: str(rows[-1].pk)}) if later else ""

    def _key(self, request: HttpRequest, name: str) -> Any:
        raw = request.GET.get(name)
        if raw is None:
            return None
        try:
            return self.lookup_opts.pk.to_python(raw)
        except (ValidationError, ValueError):
            return None


@dataclass
class Section:
    """A table below the fields of a detail page: a title, the column headings, and rows of cells.

    ``is_list`` is false where rows are not things to be counted. ``note`` is a sentence below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    has_more: bool = False
    is_list: bool = True
    note: Any = ""

    @classmethod
    def of(
        cls,
        title: str,
        columns: Mapping[str, Callable[[Any], Any]],
        queryset: QuerySet,
        limit: int = 200,
    ) -> "Section":
        """Make a section of at most ``limit`` objects of a queryset; ``columns`` maps a heading to a cell's function."""
        found = list(queryset[: limit + 1])
        rows = [[_shown(cell(item)) for cell in columns.values()] for item in found[:limit]]
        return cls(title=title, columns=list(columns), rows=rows, has_more=len(found) > limit)


class GuardedAdmin(admin.ModelAdmin):
    """A list that answers only the questions it declares, at the same cost for a thousand rows and for a million.

    ``purpose`` is the sentence shown on the home page and above the list. An action must name its ``permissions``, or
    it is not offered at all: without them it would run for anybody who may look (reliability.md 3, item 10).
    """

    purpose: Any = ""
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # The list orders by itself; the stock queryset's own order would follow every chosen one and spoil its index.
        return super().get_queryset(request).order_by()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the list, or raise BadRequest (400) for a filter, sort or search that cannot be read."""
        if any("\x00" in text for name, values in request.GET.lists() for text in (name, *values)):
            raise BadRequest("The address holds a NUL character.")
        try:
            with transaction.atomic():
                return super().get_changelist_instance(request)
        except (IncorrectLookupParameters, DataError) as error:
            raise BadRequest("A filter of this list cannot be read.") from error
        except OperationalError as error:
            if isinstance(error.__cause__, psycopg2.errors.QueryCanceled):
                raise BadRequest("This search takes too long.") from error
            raise

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {
            name: action
            for name, action in super().get_actions(request).items()
            if action is not None and getattr(action[0], "allowed_permissions", None)
        }

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow declared filters and the exact key, nothing else.

        The stock rule allows every lookup on every column of the model's own table, which answers
        ``?phone__startswith=`` for a person who is shown no phone (reliability.md 3, item 9).
        """
        allowed = {"pk", "pk__exact", "pk__in"}
        for item in self.get_list_filter(request) if request is not None else self.list_filter:
            if isinstance(item, type):
                allowed.add(getattr(item, "parameter_name", ""))
                continue
            name = str(item[0] if isinstance(item, (tuple, list)) else item)
            comparisons = ("exact", "in", "isnull", "gt", "gte", "lt", "lte", "isempty")
            allowed |= {name, *(f"{name}__{comparison}" for comparison in comparisons)}
            allowed |= {f"{name}__{key}__exact" for key in ("id", "pk", *self._target(name))}
        return lookup in allowed

    def _target(self, name: str) -> tuple[str, ...]:
        names = {item.name: item for item in self.opts.get_fields()}
        related = getattr(names.get(name), "target_field", None)
        return (related.name,) if related is not None else ()


@cache
def _personal_column(field: Any) -> Callable[[Any], Any]:
    """A column of personal data, as a list or a page of the admin shows it: it cannot be sorted by."""

    def column(item: Any) -> Any:
        return privacy.personal(getattr(item, field.name)) or NOTHING

    column.__name__ = field.name
    column.short_description = field.verbose_name  # type: ignore[attr-defined]
    return column


def _person_of(item: Any) -> uuid.UUID | None:
    """The person that a thing names as its own, if it names one."""
    found = (getattr(item, name, None) for name in ("person_key", "person_id"))
    return next((key for key in found if isinstance(key, uuid.UUID)), None)


class ReadOnlyAdmin(GuardedAdmin):
    """A screen to look at: no adding, changing or deleting. ``get_sections`` adds tables to the detail page.

    Columns of personal data are masked; on the page of one thing a button shows them once, and the audit log tells who
    pressed it (reliability.md P9, F6).
    """

    change_form_template = "ct4/read_only_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [self._discreet(name) for name in super().get_list_display(request)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [self._discreet(name) for name in super().get_fields(request, obj)]

    def _discreet(self, name: Any) -> Any:
        is_personal = isinstance(name, str) and privacy.is_personal(name)
        return _personal_column(self.opts.get_field(name)) if is_personal else name

    def get_sections(self, request: HttpRequest, obj: Any) -> Iterable[Section]:
        """Return the tables below the fields of one object's page; none unless overridden."""
        return ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and REVEAL in request.POST and object_id is not None:
            return self._reveal(request, unquote(object_id))
        page = privacy.current()
        if page is not None and self._was_revealed(request):
            page.is_revealed = True
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _reveal(self, request: HttpRequest, key: str) -> HttpResponse:
        """Write down that somebody asked to see the personal data of a page, then show it: once, to this session."""
        item = self.get_object(request, key)
        if not request.user.has_perm(privacy.REVEAL) or not self.has_view_permission(request, item):
            raise PermissionDenied
        if item is None:
            raise Http404
        with transaction.atomic():
            sealing.write_without_run(request.user.get_username())
            AuditEntry.objects.create(
                actor=request.user.get_username(),
                action=privacy.REVEALED,
                # The page, not the table: nothing of the row changed, and the history of a row must fold (I4).
                subject_table=self.opts.label_lower,
                subject_key=str(item.pk),
                person_key=_person_of(item),
            )
        request.session[REVEAL] = [request.path, time.time()]
        return HttpResponseRedirect(request.get_full_path())

    def _was_revealed(self, request: HttpRequest) -> bool:
        """Return whether this is the page that was asked for a moment ago; it is so once."""
        path, moment = request.session.get(REVEAL, ("", 0))
        if path != request.path:
            return False
        del request.session[REVEAL]
        return time.time() - moment <= REVEAL_SECONDS

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        context["sections"] = list(self.get_sections(request, obj)) if obj is not None else []
        context["page"], context["reveal"] = privacy.current(), REVEAL
        return super().render_change_form(request, context, add, change, form_url, obj)


# --- search ---------------------------------------------------------------------------------------

Search = Callable[[Mapping[str, Any]], Any]


def classify_query(text: str) -> dict[str, Any]:
    """Return what a search text may be, as comparison keys: only those that it can be are in the answer.

    Keys: ``text`` (trimmed), ``integer``, ``uuid``, and from the one place of normalisation, in one SQL call,
    ``phone``, ``license``, ``plate``, ``name`` and ``words``, the name's words without particles (domain.md 4.5).
    A NUL and anything after 200 characters is dropped.
    """
    return classify_queries([text])[0]


def classify_queries(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each of several texts what ``classify_query`` says of one, in one SQL call."""
    cleaned = [text.replace("\x00", "").strip()[:LONGEST_SEARCH] for text in texts]
    if not any(cleaned):
        return [{} for _text in texts]
    with connection.cursor() as cursor:
        cursor.execute(
            "select canon.normalize_phone(raw), canon.normalize_license(raw), canon.normalize_plate(raw),"
            " canon.normalize_name(raw), canon.name_tokens(canon.normalize_name(raw))"
            " from unnest(%s::text[]) with ordinality as typed (raw, place) order by place",
            [cleaned],
        )
        rows = cursor.fetchall()
    return [_keys_of(text, row) if text else {} for text, row in zip(cleaned, rows, strict=True)]


def _keys_of(text: str, normalised: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"text": text}
    if (number := whole_number(text, LARGEST_KEY)) is not None:
        found["integer"] = number
    with contextlib.suppress(ValueError):
        found["uuid"] = uuid.UUID(text)
    keys = zip(("phone", "license", "plate", "name", "words"), normalised, strict=True)
    return found | {name: key for name, key in keys if key}


def key_search(column: str, key: str) -> Search:
    """Return a search for rows whose ``column`` equals the text's ``key`` (a name of ``classify_query``)."""

    def search(keys: Mapping[str, Any]) -> Q | None:
        return Q(**{column: keys[key]}) if key in keys else None

    return search


def word_search(column: str, is_array: bool = False) -> Search:
    """Return a search for rows whose name holds all words of the text, in any order.

    ``column`` is a normalised name, or with ``is_array`` an array of its words. A GIN index on
    ``string_to_array(<column>, ' ')``, or on the array, serves it.
    """
    words = ArrayField(TextField())
    owned = F(column) if is_array else Func(F(column), Value(" "), function="string_to_array", output_field=words)

    def search(keys: Mapping[str, Any]) -> Any:
        return Contains(owned, Value(keys["words"], words)) if "words" in keys else None

    return search


class Contains(Func):
    """One array contains all elements of another, as a condition."""

    template = "(%(expressions)s)"
    arg_joiner = " @> "
    output_field = BooleanField()


class SearchMixin(admin.ModelAdmin):
    """Search of a list by what people type: a phone in any format, a licence, a plate, a name in any word order.

    ``searches`` holds functions from the keys of ``classify_query`` to a condition, or None when the text cannot be
    what they look for; a row is found when any of them finds it. Phones and licences are found by whoever may see them;
    ``search_help_text`` says what else may be typed, ``finds_personal`` whether those may.
    """

    searches: Sequence[Search] = ()
    search_help_text = gettext_lazy("Plate or name")
    finds_personal = False

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        # The admin shows its search box when there are search fields; the searching itself is ours.
        return ("pk",) if self.searches else ()

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        page = privacy.current()
        if self.finds_personal and page is not None and page.may_view:
            first, rest = _("Phone, licence"), str(self.search_help_text)
            changes.search_help_text = f"{first}, {rest[:1].lower()}{rest[1:]}"
        return changes

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        if not search_term.strip():
            return queryset, False
        keys = privacy.searchable(classify_query(search_term))
        return (queryset.filter(self.meant(request, keys)) if keys else queryset.none()), False

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        """Return the condition of the rows that a text (keys of ``classify_query``) means; override it where rows are
        found by way of others."""
        found = [condition for search in self.searches if (condition := search(keys)) is not None]
        return reduce(or_, map(Q, found), Q(pk__in=[]))


# --- display --------------------------------------------------------------------------------------

# Stored codes of domain.md 14; a code that is not here is shown without colour.
TONES = {
    "good": {"COMPLETED", "RESOLVED", "RESOLVED_AUTO", "RESOLVED_MANUAL", "HIGH", "ELIGIBLE", "PAID"},
    "warn": {"OPEN", "PENDING", "PENDING_REVIEW", "LOW"},
    "bad": {"FAILED", "BLOCKED", "QUARANTINED"},
    "info": {"RUNNING", "MEDIUM"},
}
DEEPEST, LONGEST = 6, 100


def pill(status: Any, label: Any = None, tone: str | None = None) -> SafeString | str:
    """Return a status as a small coloured pill; ``label`` is its translated text, ``tone`` overrides the colour.

    Tones: good, warn, bad, info, and plain for a status that is not in ``TONES``.
    """
    if status is None or status == "":
        return NOTHING
    code = str(getattr(status, "value", status))
    if tone is None:
        tone = next((name for name, codes in TONES.items() if code.upper() in codes), "plain")
    return format_html('<span class="pill pill-{}">{}</span>', tone, code if label is None else label)


def words(table: Mapping[str, Any], code: Any) -> str:
    """Return a stored code in words; the code itself for one without words, a dash for none."""
    return str(table.get(str(code), code or NOTHING))


def json_table(value: Any, name: str = "") -> SafeString | str:
    """Return a JSON value as nested definition lists, escaped; at most 100 entries each and 6 levels deep.

    ``name`` is the key or column the value stands under; under the name of personal data all of it is masked.
    """
    return _facts(value, DEEPEST, privacy.is_personal(name))


def _facts(value: Any, depth: int, is_personal: bool) -> SafeString | str:
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if not isinstance(value, (dict, list, tuple)):
        return format_html("{}", str(privacy.personal(value) if is_personal else value))
    if depth == 0:
        return "…"
    more = "…" if len(value) > LONGEST else ""
    if isinstance(value, dict):
        entries = [
            (key, _facts(item, depth - 1, is_personal or privacy.is_personal(key)))
            for key, item in list(value.items())[:LONGEST]
        ]
        entries += [(more, "")] if more else []
        return format_html('<dl class="facts">{}</dl>', format_html_join("", "<dt>{}</dt><dd>{}</dd>", entries))
    if not any(isinstance(item, (dict, list, tuple)) for item in value):
        texts = ((privacy.personal(item) if is_personal else item,) for item in value[:LONGEST])
        return format_html("{}{}", format_html_join(", ", "{}", texts), more)
    items = [(_facts(item, depth - 1, is_personal),) for item in value[:LONGEST]]
    items += [(more,)] if more else []
    return format_html('<ul class="facts-list">{}</ul>', format_html_join("", "<li>{}</li>", items))


def link_to(obj: models.Model | None, label: Any = None) -> SafeString | str:
    """Return a link to an object's page, its text alone when it has no page, a dash when there is no object."""
    if obj is None:
        return NOTHING
    text = str(obj) if label is None else label
    try:
        address = reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[quote(obj.pk)])
    except NoReverseMatch:
        return format_html("{}", text)
    return format_html('<a href="{}">{}</a>', address, text)


def lima_time(moment: datetime.datetime | datetime.date | None) -> SafeString | str:
    """Return a moment as Lima's wall clock, short (17 Nov 2026 16:38); a date or a naive moment is shown as it is."""
    if moment is None:
        return NOTHING
    if not isinstance(moment, datetime.datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), dateformat.format(moment, "j M Y"))
    if timezone.is_aware(moment):
        moment = moment.astimezone(LIMA)
    return format_html(
        '<time datetime="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        dateformat.format(moment, "j M Y H:i"),
    )


def _shown(cell: Any) -> Any:
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, datetime.date):
        return lima_time(cell)
    if isinstance(cell, (dict, list)):
        return json_table(cell)
    return cell
