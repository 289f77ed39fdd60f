"""The query parameters that select and order runs; lists and bulk requests share them."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from api.http.query import Query, collect
from api.operations.operation import Parameter
from api.operations.parameters import ID, NAMESPACE, instant, repeated
from scheduler.access.callers import LARGEST_ID
from scheduler.domain.errors import FieldError, How, InvalidInputError
from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.filters import ExecFilter, Order, Position

#: Maximum number of labels in a request; each is one more condition.
MOST_LABELS: Final = 10
LABEL: Final = Parameter(
    "label",
    repeated({"type": "string", "format": "label"}, most=MOST_LABELS),
    "Only entries with this label and value, as `name=value`. Repeat it for several labels.",
    ["team=data"],
)
STATUS: Final = Parameter(
    "status",
    repeated({"type": "string", "enum": list(ExecStatus)}),
    "Only runs with one of these statuses: W waiting, R running, S succeeded, F failed, C cancelled. Repeat it or "
    "use commas for several.",
    ["F", "C"],
)
FILTER: Final = (
    NAMESPACE,
    Parameter("job", ID, "Only runs of the job with this id.", 146),
    Parameter("name", {"type": "string"}, "Only runs of jobs with this name.", "test"),
    STATUS,
    Parameter(
        "trigger_mode",
        repeated({"type": "string", "enum": list(TriggerMode)}),
        "Only runs with this trigger: M manual, S schedule, R retry, D dependency.",
        ["S"],
    ),
    instant("created_from", "Only runs created at or after this time: ISO 8601 or Unix seconds."),
    instant("created_to", "Only runs created at or before this time.", "2099-12-31T23:59:59Z"),
    instant("started_from", "Only runs started at or after this time.", "1451350945"),
    instant("started_to", "Only runs started at or before this time.", "4102444800"),
    LABEL,
)
FILTERS: Final = tuple(parameter.name for parameter in FILTER)
_ORDERS: Final = {
    "asc": "created_at",
    "desc": "-created_at",
    **{order.value: order.value for order in Order},
}
ORDER: Final = Parameter(
    "order",
    {"type": "string", "enum": list(_ORDERS)},
    "The time to order by, with `-` for the latest first. With `started_from` or `started_to`, only `started_at` is "
    "possible.",
)
CURSOR: Final = Parameter(
    "cursor",
    {"type": "string", "format": "cursor"},
    "The `next_cursor` of an earlier answer, to continue after it; an alternative to `page`.",
)
_CURSOR: Final = re.compile(r"([cs][ad]):(-?[0-9]{1,19}):([0-9a-f-]{36})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def filter_of(query: Query) -> ExecFilter:
    """The runs that a query selects; parameters that the route does not declare are not given.

    Raises:
        InvalidInputError: a parameter is invalid; all invalid ones are named.
    """
    errors: list[FieldError] = []
    moments = {
        name: collect(errors, partial(query.instant, name))
        for name in FILTERS
        if name.endswith(("_from", "_to"))
    }
    for what in ("created", "started"):
        start, end = moments[f"{what}_from"], moments[f"{what}_to"]
        if start is not None and end is not None and start > end:
            name = f"{what}_from"
            errors.append(
                FieldError(
                    name, query[name], f"is later than {what}_to={query[f'{what}_to']}", "swap the two"
                )
            )
    statuses = collect(errors, lambda: query.words("status", ExecStatus))
    trigger_modes = collect(errors, lambda: query.words("trigger_mode", TriggerMode))
    selected = ExecFilter(
        namespace=collect(errors, query.namespace),
        job_id=collect(errors, partial(_job, query)),
        job_name=query.get("name"),
        statuses=statuses or frozenset(),
        trigger_modes=trigger_modes or frozenset(),
        labels=collect(errors, partial(labels_of, query)) or {},
        **moments,
    )
    if errors:
        raise InvalidInputError(*errors)
    return selected


def order_of(query: Query, selected: ExecFilter) -> Order:
    """The order in which runs are listed: the latest first unless the query says otherwise.

    Raises:
        InvalidInputError: there is no such order, or it cannot be combined with these filters.
    """
    text = query.get("order")
    if text is None:
        return Order.STARTED_DESCENDING if selected.asks_for_start else Order.CREATED_DESCENDING
    if text not in _ORDERS:
        raise InvalidInputError(
            FieldError("order", text, "is not an allowed value", f"use one of {', '.join(_ORDERS)}")
        )
    order = Order(_ORDERS[text])
    if selected.asks_for_start and not order.by_start:
        raise InvalidInputError(
            FieldError(
                "order",
                text,
                "cannot be combined with started_from and started_to",
                "use started_at or -started_at, or remove it",
            )
        )
    return order


def cursor_after(order: Order, at: datetime, exec_id: str) -> str:
    """The cursor of the position after a run; it is only valid for the same order."""
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    text = f"{_mark(order)}:{micros}:{exec_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_of(query: Query, order: Order) -> Position | None:
    """The position that the `cursor` of a query stands for; None if it has none.

    Raises:
        InvalidInputError: it is not a cursor of such a list.
    """
    text = query.get("cursor")
    if text is None:
        return None
    if "page" in query:
        raise InvalidInputError(
            FieldError("cursor", text, "cannot be combined with page", "use only one of the two")
        )
    return _position_at(text, order)


def _position_at(cursor: str, order: Order) -> Position:
    """The position that a cursor stands for.

    Raises:
        InvalidInputError: it is not a cursor of a list in that order.
    """
    try:
        match = _CURSOR.fullmatch(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii"))
        at = match and _EPOCH + timedelta(microseconds=int(match[2]))
    except (binascii.Error, ValueError, OverflowError):
        match = at = None
    if match is None or at is None:
        remedy = "use the next_cursor of an earlier answer without changes, or remove it"
        raise InvalidInputError(FieldError("cursor", cursor, "is not a valid cursor", remedy))
    if match[1] != _mark(order):
        remedy = "use the same order as for the first page, or remove the cursor"
        raise InvalidInputError(FieldError("cursor", cursor, "belongs to a list in another order", remedy))
    return Position(at, match[3])


def labels_of(query: Query) -> dict[str, str]:
    """The labels of a query, each given as ``name=value``.

    Raises:
        InvalidInputError: labels are invalid; all of them are named.
    """
    errors: list[FieldError] = []
    labels: dict[str, str] = {}
    for text in query.several("label"):
        name, equals, value = text.partition("=")
        if not name or not equals:
            errors.append(FieldError("label", text, "is not name=value", "write it like label=team=data"))
        elif labels.setdefault(name, value) != value:
            errors.append(
                FieldError(
                    "label", text, "conflicts with another value for this label", "give each label once"
                )
            )
    if len(labels) > MOST_LABELS:
        errors.append(
            FieldError("label", len(labels), "is given too often", f"give at most {MOST_LABELS} labels")
        )
    if errors:
        raise InvalidInputError(*errors)
    return labels


def _mark(order: Order) -> str:
    return ("s" if order.by_start else "c") + ("d" if order.is_descending else "a")


def _job(query: Query) -> int | None:
    text = query.get("job")
    if text is None:
        return None
    if text.isascii() and text.isdigit() and 0 < int(text[:20]) <= LARGEST_ID:
        return int(text)
    raise InvalidInputError(
        FieldError("job", text, "is not the id of a job", f"use the job's number, or {How.NAME} for its name")
    )
