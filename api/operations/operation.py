"""How a route declares, beside its handler, what it takes and what it answers.

The handler reads its query by the declaration, and the OpenAPI document is built from it, so the two cannot differ.
This module imports nothing that costs memory; shapes stay models until the document is requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from scheduler.access.callers import Role

JSON: Final = "application/json"
_H = TypeVar("_H", bound=Handler)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of a path or of a query, a header or a cookie.

    Attributes:
        name: as it is sent.
        schema: its JSON Schema (2020-12).
        description: what it means, for people.
        example: a value of it; None for none.
        is_required: whether it has to be given.
        may_be_empty: whether an empty value counts as not given, as it does in every query of ours.
        where: `query`, `path`, `header` or `cookie`.
    """

    name: str
    schema: Mapping[str, Any]
    description: str
    example: Any = None
    is_required: bool = False
    may_be_empty: bool = True
    where: str = "query"

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be given several times."""
        return self.schema.get("type") == "array"

    @property
    def has_words(self) -> bool:
        """Whether its values are words, so that several can also be separated by commas."""
        return "enum" in self.schema.get("items", {})


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries.

    Attributes:
        shape: the model that it has to fit.
        examples: bodies that are accepted, by a word for each.
        is_required: whether there has to be one.
        is_form: whether it may also come as a form.
    """

    shape: Any
    examples: Mapping[str, Any] = field(default_factory=dict)
    is_required: bool = True
    is_form: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered if all goes well, or in another way that is no problem.

    Attributes:
        description: what it is, for people.
        shape: what pydantic can describe: a model, a typed dictionary, a list of them; None for no JSON.
        example: one of them, as JSON has it.
        media: further media types, and the JSON Schema of each.
        headers: that come with it, by name, with what they mean.
    """

    description: str
    shape: Any = None
    example: Any = None
    media: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a handler takes and answers; see `described`."""

    summary: str
    tag: str
    answers: Mapping[int, Answer]
    role: Role | None
    query: tuple[Parameter, ...] | type[BaseModel]
    path: Mapping[str, Parameter]
    headers: tuple[Parameter, ...]
    body: Body | None
    refuses: frozenset[int]
    checks_query: bool
    description: str

    @property
    def query_names(self) -> tuple[str, ...]:
        """The names of the parameters of its query."""
        return tuple(self.parameters) if isinstance(self.query, tuple) else tuple(self.query.model_fields)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters of its query by name; none where a model declares them."""
        return (
            {parameter.name: parameter for parameter in self.query} if isinstance(self.query, tuple) else {}
        )


_OPERATIONS: Final[dict[Handler, Operation]] = {}


def described(
    summary: str,
    *,
    tag: str,
    answers: Mapping[int, Answer],
    role: Role | None = Role.VIEWER,
    query: Iterable[Parameter] | type[BaseModel] = (),
    path: Iterable[Parameter] = (),
    headers: Iterable[Parameter] = (),
    body: Body | None = None,
    refuses: Iterable[int] = (),
    checks_query: bool = True,
    description: str = "",
) -> Callable[[_H], _H]:
    """Say what a handler takes and answers; the route is served the same without it, but a test fails.

    Args:
        summary: in a few words, for a list.
        tag: of `api.operations.tags`: under which heading it is shown.
        answers: by status, those that are no problem.
        role: the lowest that may; None if it needs no token.
        query: the parameters, in the order in which they are shown, or a model that has them as its fields;
            `query_of` accepts these and no others.
        path: parameters of the path whose meaning here differs from that in `api.operations.parameters`.
        headers: that change the answer.
        body: what it carries.
        refuses: statuses of problems beyond those that follow from the rest (see `document`): 409, and 403 and 404
            where neither the role nor the path tells that they are possible.
        checks_query: whether a parameter that does not exist is refused.
        description: more words, in Markdown.
    """
    operation = Operation(
        summary=summary,
        tag=tag,
        answers=MappingProxyType(dict(answers)),
        role=role,
        query=query if isinstance(query, type) else tuple(query),
        path=MappingProxyType({one.name: one for one in path}),
        headers=tuple(headers),
        body=body,
        refuses=frozenset(refuses),
        checks_query=checks_query,
        description=description,
    )

    def describe(handler: _H) -> _H:
        _OPERATIONS[handler] = operation
        return handler

    return describe


def operation_of(handler: Handler) -> Operation | None:
    """What a handler was described as; None if nobody did."""
    return _OPERATIONS.get(handler)
