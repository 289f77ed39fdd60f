"""Has a daemon have the jobs that are declared: asks what there is, shows what would change, and does it.

A client of the API. Whatever is refused leaves the other jobs to be done and nothing deleted; a second run goes on
from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import click

from api.cli.declaring.form import Declared, FileProblem, default_fields, find_twins, settle
from api.cli.declaring.plan import PlanAction, PlanStep, make_plan
from api.cli.declaring.showing import StepOutcome, StepStatus, as_data, shown, summary
from api.cli.tables import all_pages, show
from api.client import ApiError, Client, ClientError, UsageError

#: What the daemon says of one job alone; after anything else the next request would fare no better.
_OF_ONE_JOB = frozenset({400, 403, 404, 409, 413})


class ApplyRefusedError(ClientError):
    """What was given cannot be carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What is to be done with what is declared.

    Attributes:
        namespace: of the jobs that name none; None for the caller's own.
        prune: whether other jobs in the same namespaces are deleted.
        is_dry: whether things are only looked at.
        yes: whether deletion is agreed to.
        can_ask: whether somebody can be asked.
        as_json: whether the outcome is for a program.
    """

    namespace: str | None = None
    prune: bool = False
    is_dry: bool = False
    yes: bool = False
    can_ask: bool = True
    as_json: bool = False


def refuse_all(problems: Iterable[FileProblem], what: str = "Nothing was changed.") -> None:
    """Refuse, if there is anything to refuse.

    Raises:
        RefusedError: names every problem, one a line.
    """
    found = list(dict.fromkeys(map(str, problems)))
    if found:
        raise ApplyRefusedError(
            "\n  ".join((f"{len(found)} mistakes. {what}" if len(found) > 1 else what, *found))
        )


def carry_out(client: Client, declared: Sequence[Declared], how: How) -> None:
    """Show what has to change, and change it.

    Raises:
        RefusedError: a job is declared twice, or the daemon refused something.
        UnreachableError: the daemon is gone.
        UsageError: deletion has to be agreed to, and nobody can be asked.
    """
    needs_home = how.namespace is None and any(job.namespace is None for job in declared)
    home = how.namespace or (_home(client) if needs_home else "")
    jobs = settle(declared, home)
    refuse_all(find_twins(jobs))
    namespaces = sorted({job.namespace or "" for job in jobs} | ({how.namespace} if how.namespace else set()))
    about = client.request("GET", "/v1/about").json()
    defaults = default_fields(about["default_size"], about["default_region"])
    pruned: Collection[str] = namespaces if how.prune else ()
    plan = make_plan(jobs, _stored(client, namespaces), defaults, pruned=pruned)
    if not how.as_json:
        for step in plan:
            if text := shown(step):
                click.echo(text)
    if how.is_dry:
        outcomes = [StepOutcome(step, _quiet(step) or StepStatus.PLANNED) for step in plan]
        _print(outcomes, how)
        return
    _agree(plan, how)
    outcomes = []
    stopped: ClientError | None = None
    for outcome in _each(client, plan):
        if isinstance(outcome, ClientError):
            stopped = outcome
        else:
            outcomes.append(outcome)
    _print(outcomes, how)
    if stopped is not None:
        stopped.args = (f"{stopped}{_told(outcomes, how)}",)
        raise stopped
    if failed := [one for one in outcomes if one.status is StepStatus.FAILED]:
        reasons = "".join(
            f"\n  {one.step.place or 'pruning'}: {one.step.namespace}/{one.step.name}: {one.error}"
            for one in failed
        )
        raise ApplyRefusedError(f"The daemon refused:{reasons}{_told(outcomes, how)}")


def _home(client: Client) -> str:
    me: Mapping[str, Any] = client.request("GET", "/v1/me").json()
    return str(me["namespace"] or me["username"])


def _stored(client: Client, namespaces: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for namespace in namespaces:
        yield from all_pages(client, "/v1/jobs", {"namespace": namespace})["results"]


def _quiet(step: PlanStep) -> StepStatus | None:
    return StepStatus.DONE if step.action is PlanAction.NOTHING else None


def _agree(plan: Sequence[PlanStep], how: How) -> None:
    """Have somebody agree to what is deleted, before anything is changed."""
    number = sum(step.action is PlanAction.DELETE for step in plan)
    if not number or how.yes:
        return
    what = f"{number} job{'s' if number > 1 else ''} with all runs and logs"
    if not how.can_ask:
        raise UsageError(f"Nothing was changed: --prune would delete {what}; agree to it with --yes")
    click.confirm(f"Delete {what}?", abort=True, err=True)


def _each(client: Client, plan: Sequence[PlanStep]) -> Iterator[StepOutcome | ClientError]:
    """Carry out step by step; an error of the class ClientError says that the rest was not tried."""
    is_refused = is_stopped = False
    for step in plan:
        if step.action is PlanAction.NOTHING:
            yield StepOutcome(step, StepStatus.DONE)
        elif is_stopped or (is_refused and step.action is PlanAction.DELETE):
            yield StepOutcome(step, StepStatus.SKIPPED)
        else:
            try:
                yield StepOutcome(_send(client, step), StepStatus.DONE)
            except ClientError as error:
                yield StepOutcome(step, StepStatus.FAILED, str(error))
                is_refused = True
                if not isinstance(error, ApiError) or error.status not in _OF_ONE_JOB:
                    is_stopped = True
                    yield error


def _send(client: Client, step: PlanStep) -> PlanStep:
    if step.action is PlanAction.CREATE:
        return replace(step, id=client.request("POST", "/v1/jobs", body=dict(step.body)).json()["id"])
    path = f"/v1/jobs/{quote(str(step.id))}"
    if step.action is PlanAction.CHANGE:
        client.request("PATCH", path, body=dict(step.body))
    else:
        client.request("DELETE", path)
    return step


def _print(outcomes: Sequence[StepOutcome], how: How) -> None:
    if how.as_json:
        show(as_data(outcomes, is_dry=how.is_dry))
    else:
        click.echo(summary(outcomes, is_dry=how.is_dry))


def _told(outcomes: Sequence[StepOutcome], how: How) -> str:
    """Which were done and which not, job by job."""
    if how.as_json:
        return ""  # it stands in the JSON
    lines = []
    for status, word in ((StepStatus.DONE, "done"), (StepStatus.SKIPPED, "not tried")):
        names = [
            f"{one.step.namespace}/{one.step.name}"
            for one in outcomes
            if one.status is status and one.step.action is not PlanAction.NOTHING
        ]
        if names:
            lines.append(f"\n  {word}: {', '.join(names)}")
    return "".join(lines) + "\n  Mend what is wrong and run it again: what is done is not done twice."
