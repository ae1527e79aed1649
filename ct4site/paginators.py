"""Counting and paging that cost the same at a thousand rows and at a million (reliability.md F27)."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import BooleanField, F, Func, Model, Q, QuerySet, Value
from django.db.models.expressions import OrderBy
from django.utils.functional import cached_property

Position = list[tuple[str, bool, bool, Any]]
NOTHING = Q(pk__in=[])


class CappedPaginator(Paginator):
    """A paginator that counts at most ``cap`` rows, so that a list never reads a whole big table to say its size."""

    cap = 10_000

    @cached_property
    def counted(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[: self.cap + 1].count()
        return len(rows)

    @property
    def is_capped(self) -> bool:
        """True when there are more rows than are counted."""
        return self.counted > self.cap

    @cached_property
    def count(self) -> int:
        """The number of rows, or ``cap`` when there are more: read it together with ``is_capped``."""
        return min(self.counted, self.cap)


class Keyset:
    """Pages of a queryset by position instead of by offset.

    A page is named by the primary key of the row it starts after (or ends before). The address therefore carries no
    value of a sort column, which may be a phone number (reliability.md F6), and needs no signature: a key of no row
    among ``anchors`` names no page.
    """

    def __init__(self, queryset: QuerySet, size: int, anchors: QuerySet | None = None) -> None:
        """Take a queryset whose ordering ends in a unique column, and the number of rows per page.

        ``anchors`` are the rows a page may be named by, the queryset itself unless given: a wider one keeps the place
        of a reader whose last row has just left the filter.
        """
        self.size = size
        self.terms: list[tuple[str, bool, bool]] = []
        annotations: dict[str, Any] = {}
        for number, term in enumerate(queryset.query.order_by):
            expression, descending = _expression(term)
            name = f"_keyset_{number}"
            annotations[name] = expression
            self.terms.append((name, descending, _may_be_null(queryset.model, expression)))
        self.anchors = (queryset if anchors is None else anchors).annotate(**annotations)
        annotated = queryset.annotate(**annotations)
        # Ordered by the very expressions that positions are compared by: "person" would otherwise be sorted by the
        # related model's own ordering and compared by its key.
        self.queryset = annotated.order_by(
            *(F(name).desc() if descending else F(name).asc() for name, descending, _null in self.terms)
        )

    def page(self, after: Any = None, before: Any = None) -> tuple[list[Model], bool, bool]:
        """Return (rows, is there an earlier page, is there a later page); an unknown key gives the first page."""
        key = after if after is not None else before
        position = self._position(key) if key is not None else None
        if position is None:
            rows, more = self._read(None, backwards=False)
            return rows, False, more
        if after is not None:
            rows, more = self._read(position, backwards=False)
            return rows, True, more
        rows, more = self._read(position, backwards=True)
        if not more:
            # The first page may be reached from the middle of it: show it whole.
            rows, later = self._read(None, backwards=False)
            return rows, False, later
        return rows[::-1], True, True

    def _position(self, key: Any) -> Position | None:
        names = [name for name, _descending, _null in self.terms]
        values = self.anchors.filter(pk=key).order_by().values_list(*names).first()
        return None if values is None else [(*term, value) for term, value in zip(self.terms, values, strict=True)]

    def _read(self, position: Position | None, backwards: bool) -> tuple[list[Model], bool]:
        rows = self.queryset
        if position is not None:
            rows = rows.filter(_beyond(rows, position, backwards))
        if backwards:
            rows = rows.reverse()
        found = list(rows[: self.size + 1])
        return found[: self.size], len(found) > self.size


def _expression(term: Any) -> tuple[Any, bool]:
    if isinstance(term, OrderBy):
        if term.nulls_first or term.nulls_last:
            raise ValueError("Keyset pages follow the order of nulls that PostgreSQL has by default.")
        return term.expression, term.descending
    if isinstance(term, str):
        return F(term.removeprefix("-")), term.startswith("-")
    return term, False


def _may_be_null(model: type[Model], expression: Any) -> bool:
    if not isinstance(expression, F):
        return True
    name = getattr(expression, "name", "")
    if name == "pk":
        return False
    fields = {known: field for field in model._meta.concrete_fields for known in (field.name, field.attname)}
    return name not in fields or fields[name].null


def _beyond(queryset: QuerySet, position: Position, backwards: bool) -> Any:
    """The condition of all rows after (before) a position; PostgreSQL sorts nulls as larger than every value."""
    upwards = [descending == backwards for _name, descending, _null, _value in position]
    if len(set(upwards)) == 1 and not any(null for _name, _descending, null, _value in position):
        # One row comparison is one range of an index, however many rows share the first value.
        return RowComparison(
            *(F(name) for name, *_rest in position),
            *(Value(value, queryset.query.annotations[name].output_field) for name, *_rest, value in position),
            operator=">" if upwards[0] else "<",
        )
    condition = NOTHING
    equal = Q()
    for (name, _descending, null, value), up in zip(position, upwards, strict=True):
        if value is None:
            further = NOTHING if up else Q(**{f"{name}__isnull": False})
            same = Q(**{f"{name}__isnull": True})
        else:
            further = Q(**{f"{name}__{'gt' if up else 'lt'}": value})
            if up and null:
                further |= Q(**{f"{name}__isnull": True})
            same = Q(**{name: value})
        condition |= equal & further
        equal &= same
    return condition


class RowComparison(Func):
    """``(a, b, ...) > (x, y, ...)``: the first half of the expressions against the second, left to right."""

    output_field = BooleanField()

    def __init__(self, *expressions: Any, operator: str, **extra: Any) -> None:
        super().__init__(*expressions, **extra)
        self.operator = operator

    def as_sql(self, compiler: Any, connection: Any, **_context: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        parts = [compiler.compile(expression) for expression in self.get_source_expressions()]
        half = len(parts) // 2
        left, right = (", ".join(sql for sql, _params in side) for side in (parts[:half], parts[half:]))
        return f"({left}) {self.operator} ({right})", [value for _sql, params in parts for value in params]


class SoonCappedPaginator(CappedPaginator):
    """Counts less far: for lists whose row is a join of many tables."""

    cap = 1000
