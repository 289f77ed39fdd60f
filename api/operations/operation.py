"""How a route declares its parameters, body and answers next to its handler.

The handler reads its query by the declaration, and the OpenAPI document is built from it, so the two cannot differ.
This module does not import anything that needs much memory; shapes stay models until the document is requested.
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
    """A parameter in a path, a query, a header or a cookie.

    Attributes:
        name: the name as it is sent.
        schema: its JSON Schema (2020-12).
        description: its meaning, for people.
        example: an example of a value; None for none.
        is_required: whether it is required.
        may_be_empty: whether an empty value counts as not given, as in all of our queries.
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
    """The body of a request.

    Attributes:
        shape: the model that the body must match.
        examples: bodies that are accepted, by a short name for each.
        is_required: whether the body is required.
        is_form: whether the body can also be a form.
    """

    shape: Any
    examples: Mapping[str, Any] = field(default_factory=dict)
    is_required: bool = True
    is_form: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not an error.

    Attributes:
        description: what it is, for people.
        shape: a model, a typed dictionary, or a list of them; None if the answer is not JSON.
        example: an example as JSON.
        media: other media types with their JSON Schemas.
        headers: the meanings of its headers by name.
    """

    description: str
    shape: Any = None
    example: Any = None
    media: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of a handler; see `described`."""

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
        """The names of its query parameters."""
        return tuple(self.parameters) if isinstance(self.query, tuple) else tuple(self.query.model_fields)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Its query parameters by name; empty if a model declares them."""
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
    """Declare what a handler accepts and answers. A route works without it, but a test reports it.

    Args:
        summary: a few words, for lists.
        tag: the heading under which it is shown, from `api.operations.tags`.
        answers: the answers that are not errors, by status.
        role: the lowest role that is allowed; None if no token is required.
        query: the parameters in the order in which they are shown, or a model that has them as fields;
            `query_of` accepts these and no others.
        path: parameters of the path whose meaning differs from that in `api.operations.parameters`.
        headers: headers that change the answer.
        body: the body; None for none.
        refuses: error statuses in addition to those that follow from the rest (see `document`): 409, and 403 and
            404 if they do not follow from the role and the path.
        checks_query: whether unknown parameters are rejected.
        description: further explanation, in Markdown.
    """
    operation = Operation(
        summary=summary,
        tag=tag,
        answers=MappingProxyType(dict(answers)),
        role=role,
        query=query if isinstance(query, type) else tuple(query),
        path=MappingProxyType({parameter.name: parameter for parameter in path}),
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
    """The declaration of a handler; None if it has none."""
    return _OPERATIONS.get(handler)
