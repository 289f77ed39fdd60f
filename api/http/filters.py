"""The query parameters that say which runs are meant, and in what order; lists and bulk requests share them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from multidict import MultiMapping

from api.http.moments import instant_of
from api.operations.operation import Parameter
from api.operations.parameters import ID, NAMESPACE, instant, repeated
from api.schemas.fields import NAMESPACE_REMEDY, is_namespace
from scheduler.access.callers import LARGEST_ID
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.filters import ExecFilter, Order, Position

#: Labels that one request asks for at most: each is one more condition.
MOST_LABELS: Final = 10
LABEL: Final = Parameter(
    "label",
    repeated({"type": "string", "format": "label"}, most=MOST_LABELS),
    "Only what has this label with this value, as `name=value`; several times for several labels.",
    ["team=data"],
)
STATUS: Final = Parameter(
    "status",
    repeated({"type": "string", "enum": list(ExecStatus)}),
    "Only runs with one of these statuses: W waiting, R running, S succeeded, F failed, C cancelled. Commas may "
    "stand between several.",
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
        "Only runs that were triggered so: M by hand, S by the schedule, R as a retry, D by another job.",
        ["S"],
    ),
    instant("created_from", "Only runs that were made then or later: ISO 8601, or Unix seconds."),
    instant("created_to", "Only runs that were made then or earlier.", "2099-12-31T23:59:59Z"),
    instant("started_from", "Only runs that were started then or later.", "1451350945"),
    instant("started_to", "Only runs that were started then or earlier.", "4102444800"),
    LABEL,
)
FILTERS: Final = tuple(one.name for one in FILTER)
#: Parameters that may be given more than once.
SEVERAL: Final = frozenset({"status", "trigger_mode", "label"})
_ORDERS: Final = {
    "asc": "created_at",
    "desc": "-created_at",
    **{order.value: order.value for order in Order},
}
ORDER: Final = Parameter(
    "order",
    {"type": "string", "enum": list(_ORDERS)},
    "By which moment, newest first with `-`; `started_from` and `started_to` go with `started_at` alone.",
)
CURSOR: Final = Parameter(
    "cursor",
    {"type": "string", "format": "cursor"},
    "Go on where an earlier answer ended, with the `next_cursor` that it had; instead of `page`.",
)
_CURSOR: Final = re.compile(r"([cs][ad]):(-?[0-9]{1,19}):([0-9a-f-]{36})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Words = TypeVar("_Words", bound=StrEnum)


def parameters_of(
    query: MultiMapping[str], allowed: Collection[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The parameters that come once, and those that may come more often; what is empty counts as not given.

    Raises:
        InvalidInputError: a parameter does not exist here, or comes twice and may not.
    """
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    errors = []
    for name, value in query.items():
        if name not in allowed:
            remedy = f"use {', '.join(allowed)}"
            errors.append(
                FieldError(name or "query", value, "is not a query parameter of this request", remedy)
            )
        elif name in SEVERAL:
            several.setdefault(name, []).extend([value] if name == "label" else value.split(","))
        elif name in single:
            errors.append(FieldError(name, value, "is given twice", "give it once"))
        else:
            single[name] = value
    if errors:
        raise InvalidInputError(*errors)
    return (
        {name: value for name, value in single.items() if value},
        {name: [value for value in values if value] for name, values in several.items()},
    )


def filter_of(single: Mapping[str, str], several: Mapping[str, Sequence[str]]) -> ExecFilter:
    """Which runs a query means.

    Raises:
        InvalidInputError: a parameter cannot be accepted; all that are wrong are named.
    """
    errors: list[FieldError] = []
    moments = {name: _moment(errors, single, name) for name in FILTERS if name.endswith(("_from", "_to"))}
    for what in ("created", "started"):
        start, end = moments[f"{what}_from"], moments[f"{what}_to"]
        if start is not None and end is not None and start > end:
            name = f"{what}_from"
            errors.append(
                FieldError(name, single[name], f"lies after {what}_to={single[f'{what}_to']}", "swap them")
            )
    wanted = ExecFilter(
        namespace=namespace_of(errors, single),
        job_id=_job(errors, single),
        job_name=single.get("name"),
        statuses=_words(errors, "status", several, ExecStatus),
        trigger_modes=_words(errors, "trigger_mode", several, TriggerMode),
        labels=labels_of(errors, several.get("label", ())),
        **moments,
    )
    if errors:
        raise InvalidInputError(*errors)
    return wanted


def order_of(single: Mapping[str, str], wanted: ExecFilter) -> Order:
    """In what order runs are wanted: newest first unless the query says otherwise.

    Raises:
        InvalidInputError: there is no such order, or not with these filters.
    """
    text = single.get("order")
    if text is None:
        return Order.STARTED_DESCENDING if wanted.asks_for_start else Order.CREATED_DESCENDING
    if text not in _ORDERS:
        raise InvalidInputError(FieldError("order", text, "is not an order", f"use {', '.join(_ORDERS)}"))
    order = Order(_ORDERS[text])
    if wanted.asks_for_start and not order.by_start:
        remedy = "use started_at or -started_at, or leave it out"
        raise InvalidInputError(
            FieldError("order", text, "does not go with started_from and started_to", remedy)
        )
    return order


def cursor_after(order: Order, at: datetime, exec_id: str) -> str:
    """The cursor of the place after a run; it fits the same order alone."""
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    text = f"{_mark(order)}:{micros}:{exec_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_of(single: Mapping[str, str], order: Order) -> Position | None:
    """The place that a query's `cursor` stands for; None if it has none.

    Raises:
        InvalidInputError: it is no cursor of such a list.
    """
    text = single.get("cursor")
    if text is None:
        return None
    if "page" in single:
        raise InvalidInputError(FieldError("cursor", text, "does not go with page", "give one of the two"))
    try:
        found = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"))
        at = found and _EPOCH + timedelta(microseconds=int(found[2]))
    except (binascii.Error, ValueError, OverflowError):
        found = at = None
    if found is None or at is None:
        remedy = "use the one that the list before answered with, as it is; or leave it out"
        raise InvalidInputError(FieldError("cursor", text, "is not a cursor", remedy))
    if found[1] != _mark(order):
        remedy = "go on in the order that the list began with; or leave it out"
        raise InvalidInputError(FieldError("cursor", text, "belongs to a list in another order", remedy))
    return Position(at, found[3])


def labels_of(errors: list[FieldError], given: Sequence[str]) -> dict[str, str]:
    """Labels as ``name=value`` each; what is wrong with them is added to `errors`."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            errors.append(FieldError("label", text, "is not name=value", "write it like label=team=data"))
        elif found.setdefault(name, value) != value:
            errors.append(
                FieldError("label", text, "contradicts another one of that name", "give each name once")
            )
    if len(found) > MOST_LABELS:
        errors.append(FieldError("label", len(found), "is given too often", f"give {MOST_LABELS} at most"))
    return found


def _mark(order: Order) -> str:
    return ("s" if order.by_start else "c") + ("d" if order.is_descending else "a")


def _moment(errors: list[FieldError], single: Mapping[str, str], name: str) -> datetime | None:
    try:
        return instant_of(single, name)
    except InvalidInputError as error:
        errors.extend(error.errors)
        return None


def namespace_of(errors: list[FieldError], single: Mapping[str, str]) -> str | None:
    """The namespace that a query names, if any; what is wrong with it is added to `errors`."""
    name = single.get("namespace")
    if name is not None and not is_namespace(name):
        errors.append(FieldError("namespace", name, "is not a namespace's name", NAMESPACE_REMEDY))
    return name


def _job(errors: list[FieldError], single: Mapping[str, str]) -> int | None:
    text = single.get("job")
    if text is None:
        return None
    if text.isascii() and text.isdigit() and 0 < int(text[:20]) <= LARGEST_ID:
        return int(text)
    errors.append(FieldError("job", text, "is not a job's id", "give its number, or its name as name=…"))
    return None


def _words(
    errors: list[FieldError], name: str, several: Mapping[str, Sequence[str]], words: type[_Words]
) -> frozenset[_Words]:
    found = set()
    known = {word.value: word for word in words}
    for text in several.get(name, ()):
        if text in known:
            found.add(known[text])
        else:
            meaning = ", ".join(f"{word.value} ({word.name.lower()})" for word in words)
            errors.append(FieldError(name, text, f"is not a {name}", f"use {meaning}; several with commas"))
    return frozenset(found)
