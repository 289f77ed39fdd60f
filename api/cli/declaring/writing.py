"""Writes jobs to files that `apply` reads: sorted, without defaults, and always in the same form. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from api.cli.declaring.documents import means_text
from api.cli.declaring.form import FIELDS, default_fields
from scheduler.domain.job import DEFAULT_SIZE, LOCAL_REGION

_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
#: Lines that YAML keeps unchanged in a block.
_BLOCK: Final = re.compile(r"(?:[!-~][ -~]*\n)(?:[!-~][ -~]*)?(?:\n[!-~][ -~]*|\n)*", re.ASCII)
#: What YAML 1.1 reads as numbers, times and so on, by the first character.
_RESOLVERS: Final = yaml.SafeLoader.yaml_implicit_resolvers
#: Words that need no quotes, unless they look like a number.
_PLAIN: Final = re.compile(
    r"(?:-{0,2}[A-Za-z0-9_/.$])[A-Za-z0-9_/.,+=@%$-]*(?: [A-Za-z0-9_/.,+=@%$-]+)*", re.ASCII
)
_WIDEST: Final = 1 << 30


class _Dumper(_DUMPER):  # type: ignore[misc,valid-type] # either of two classes
    """Writes values without aliases, so that YAML 1.1 and 1.2 read them the same way."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent(dumper: Any, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) and _is_text_to_all(text) else '"'
    if "\n" in text and _BLOCK.fullmatch(text):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_text_to_all(word: str) -> bool:
    """Whether an unquoted word is text both for `documents` and for YAML 1.1."""
    others = _RESOLVERS.get(word[:1], ())
    return means_text(word) and not any(pattern.match(word) for _, pattern in others)


_Dumper.add_representer(str, _represent)


def exported(job: Mapping[str, Any], size: str = DEFAULT_SIZE, region: str = LOCAL_REGION) -> dict[str, Any]:
    """A stored job as it is declared in a file.

    Defaults that depend on the daemon's settings are left out only if they equal the built-in defaults, so that
    another daemon creates the same job.

    Args:
        job: the job as the API returns it.
        size: the daemon's default size.
        region: the daemon's default region.
    """
    bare, ours = default_fields(), default_fields(size, region)
    found = {"name": job["name"], "namespace": job["namespace"]}
    for name in FIELDS:
        if name in job and (name not in bare or job[name] != bare[name] or job[name] != ours[name]):
            value = job[name]
            found[name] = dict(sorted(value.items())) if name in {"runtime_vars", "labels"} else value
    return found


def in_order(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A job's fields in display order."""
    return {name: fields[name] for name in ("name", "namespace", *FIELDS) if name in fields}


def as_yaml(jobs: Iterable[Mapping[str, Any]]) -> str:
    """A YAML file that declares these jobs."""
    found = [in_order(job) for job in jobs]
    if not found:
        return "jobs: []\n"
    text: str = yaml.dump(
        {"jobs": found},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=_WIDEST,
    )
    return text


def as_json(jobs: Iterable[Mapping[str, Any]]) -> str:
    """A JSON file that declares these jobs."""
    return json.dumps({"jobs": [in_order(job) for job in jobs]}, ensure_ascii=False, indent=2) + "\n"
