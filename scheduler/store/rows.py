"""Converts rows to the dataclasses of the core and back, by the types of the dataclasses' fields.

A column has the name of its field. A field that is a dataclass itself has its columns in the same row, so that a
stored run keeps its spec's columns next to its own.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from sqlalchemy.engine import RowMapping

T = TypeVar("T")

Converter = Callable[[Any], Any]
_UNIONS: Final = frozenset({Union, types.UnionType})


def reader(kind: type[T], *, prefix: str = "") -> Callable[[RowMapping], T]:
    """A function that builds an object of a dataclass from a row.

    Args:
        kind: the dataclass. Its fields may be of simple types, enums, tuples, named tuples and dataclasses.
        prefix: of the columns' names.
    """
    hints = get_type_hints(kind)
    plain: list[tuple[str, str]] = []
    converted: list[tuple[str, str, Converter]] = []
    nested: list[tuple[str, Callable[[RowMapping], Any]]] = []
    for field in fields(cast("Any", kind)):
        hint = hints[field.name]
        if is_dataclass(hint):
            nested.append((field.name, reader(cast("type[Any]", hint), prefix=prefix)))
        elif (converter := _converter(hint)) is None:
            plain.append((field.name, prefix + field.name))
        else:
            converted.append((field.name, prefix + field.name, converter))

    def read(row: RowMapping) -> T:
        values: dict[str, Any] = {name: row[column] for name, column in plain}
        for name, column, convert in converted:
            values[name] = convert(row[column])
        for name, read_nested in nested:
            values[name] = read_nested(row)
        return kind(**values)

    return read


def _converter(hint: Any) -> Converter | None:
    """What a stored value must be converted with; None if it is used as it is."""
    if get_origin(hint) in _UNIONS:
        choices = [choice for choice in get_args(hint) if choice is not types.NoneType]
        convert = _converter(choices[0]) if len(choices) == 1 else None
        return None if convert is None else lambda value: None if value is None else convert(value)
    if get_origin(hint) is tuple:
        item = _converter(get_args(hint)[0])
        return tuple if item is None else lambda values: tuple(map(item, values))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if isinstance(hint, type) and issubclass(hint, tuple):
        return lambda values: hint(*values)
    return None


@cache
def _field_names(kind: Any) -> tuple[tuple[str, bool], ...]:
    """The names of a dataclass's fields, each with whether it is a dataclass itself."""
    hints = get_type_hints(kind)
    return tuple((field.name, is_dataclass(hints[field.name])) for field in fields(kind))


def values_of(stored: Any) -> dict[str, Any]:
    """The columns of a dataclass object, those of its nested dataclasses included; nothing is copied."""
    return dict(_values_of(stored))


def _values_of(stored: Any) -> Iterator[tuple[str, Any]]:
    for name, is_nested in _field_names(cast("Any", type(stored))):
        value = getattr(stored, name)
        if is_nested:
            yield from _values_of(value)
        else:
            yield name, value
