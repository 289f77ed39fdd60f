"""What schemathesis has to know of the daemon that it tries: loaded by it, in a process of its own.

A document cannot tell what depends on a daemon's settings (its sizes, its regions, what its policy allows), nor make
up a schedule or a cursor. Here it is told; and answers are held against their schemas as they are in this version,
without the further fields that a later one may have.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData

#: What lies in the past, and what in the future: a window from one to the other is not empty.
PAST: Final = ["2015-12-28T14:31:07Z", "2026-01-31", "20260131T090000Z", "2026-01-31T09:00:00.5+08:00"]
FUTURE: Final = ["2099-12-31T23:59:59Z", "2099-12-31", "2100-01-01T00:00:00-05:00"]
SCHEDULES: Final = ["R5/2026-01-31T00:00:00Z/P1M", "R//PT1H", "R1//P1D", "*/15 6-18 * * 1-5", "@daily"]
FORMATS: Final[dict[str, list[str]]] = {
    "moment": PAST + FUTURE,
    "schedule": SCHEDULES,
    "timezone": ["UTC", "Europe/Berlin", "Asia/Shanghai"],
    "label": ["team=data", "a=", "a/b.c=x=y"],
    "re2": ["a+b", "^x.*$", "[0-9]{2}"],
    "explorer-filter": [
        "{}",
        '{"status": 2, "orderByCreateTime": "asc"}',
        '{"name": "x", "fromCreateTime": 1657848036000}',
    ],
}
for name, values in FORMATS.items():
    schemathesis.openapi.format(name, st.sampled_from(values))

#: Fields whose values depend on the daemon's settings, and what these allow.
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "resource_size": {"enum": ["XXS", "XS"]},
    "region_name": {"enum": ["LOCAL", "BEIJING1"]},
    "network": {"enum": ["bridge", "none"]},
    "capabilities": {"type": "array", "items": {"enum": ["CHOWN", "cap_kill"]}},
    "url": {"enum": ["http://127.0.0.1:1025/", "http://127.0.0.1:1025/x?y=z"]},
    "secret_files": {"enum": [{}, {"/run/secrets/db": {"secret": "db"}}]},
    "mounts": {"type": "array", "maxItems": 0},
}


@schemathesis.hook
def before_load_schema(_context: Any, document: dict[str, Any]) -> None:
    """Fill in what the document leaves open."""
    for name, schema in document["components"]["schemas"].items():
        fields = schema.get("properties", {})
        if name.endswith(("Out", "Page")):
            schema["additionalProperties"] = False
        if schema.get("additionalProperties") is False and not name.endswith(("Out", "Page")):
            for field in fields.keys() & SETTINGS.keys():
                can_be_null = {"type": "null"} in fields[field].get("anyOf", ())
                fields[field] = {"anyOf": [SETTINGS[field], *([{"type": "null"}] if can_be_null else ())]}
    for operations in document["paths"].values():
        for operation in operations.values():
            # Cursors are given by earlier answers; tests of their own follow them.
            operation["parameters"] = [
                one
                for one in operation.get("parameters", [])
                if one["schema"].get("format") not in {"cursor", "log-cursor"}
            ]


#: Messages of rules between two values, which a document cannot express: such a refusal is as described.
TOGETHER: Final = re.compile(
    "is not possible when following|is later than (?!the year)|cannot be combined with|does not select any runs"
    "|is required when|is in the past|is not the id of a job|cannot be split into words|starts with an empty word"
    "|is not an existing user|is not the namespace of the user|is higher than the user's role"
    "|conflicts with another value"
    "|the rest is not valid base64|has two mounts"
)


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, _case: Any, response: Any) -> bool:
    """Leave out what was refused only for a rule between two values."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    answer = response.json()
    if answer.get("errorCode") in {"GES.8000", "GES.8301"}:  # GES has 400 for what does not exist
        return "not exist" not in answer["errorMessage"]
    refused = answer.get("errors", [])
    return not (refused and all(TOGETHER.search(one["message"]) for one in refused))


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leave the token alone that the requests are sent with, and follow nothing that comes to no end."""
    if case.path.endswith("/logs") and "execs" not in case.path:
        asked = str((case.query or {}).get("follow", "")).lower()
        if asked in {"true", "1", "yes"}:
            return False
    return str(case.path_parameters.get("token_id")) != os.environ["TIMEBALL_TEST_TOKEN_ID"]
