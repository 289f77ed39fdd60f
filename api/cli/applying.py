"""Creates and updates declared jobs: reads the stored jobs, shows the changes, and makes them.

A client of the API. If the daemon rejects a job, the other jobs are still applied, but nothing is deleted. Applying
again continues from there.
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

#: Statuses that concern a single job. After any other status, the next request would fail as well.
_OF_ONE_JOB = frozenset({400, 403, 404, 409, 413})


class ApplyRefusedError(ClientError):
    """The declared jobs cannot be applied, or not all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How declared jobs are applied.

    Attributes:
        namespace: the namespace of jobs that do not name one; None for the caller's.
        prune: delete other jobs in the same namespaces.
        is_dry: show the changes without making them.
        yes: delete without asking.
        can_ask: whether the user can be asked.
        as_json: print the outcome as JSON.
    """

    namespace: str | None = None
    prune: bool = False
    is_dry: bool = False
    yes: bool = False
    can_ask: bool = True
    as_json: bool = False


def refuse_all(problems: Iterable[FileProblem], what: str = "Nothing was changed.") -> None:
    """Raise an error if there are problems.

    Raises:
        ApplyRefusedError: lists every problem, one per line.
    """
    found = list(dict.fromkeys(map(str, problems)))
    if found:
        raise ApplyRefusedError(
            "\n  ".join((f"{len(found)} errors. {what}" if len(found) > 1 else what, *found))
        )


def carry_out(client: Client, declared: Sequence[Declared], options: ApplyOptions) -> None:
    """Show the changes, and make them.

    Raises:
        ApplyRefusedError: a job is declared twice, or the daemon rejected a change.
        UnreachableError: the daemon cannot be reached.
        UsageError: deletion must be confirmed, and the user cannot be asked.
    """
    needs_home = options.namespace is None and any(job.namespace is None for job in declared)
    home = options.namespace or (_home(client) if needs_home else "")
    jobs = settle(declared, home)
    refuse_all(find_twins(jobs))
    named = {job.namespace or "" for job in jobs}
    namespaces = sorted(named | ({options.namespace} if options.namespace else set()))
    about = client.request("GET", "/v1/about").json()
    defaults = default_fields(about["default_size"], about["default_region"])
    pruned: Collection[str] = namespaces if options.prune else ()
    plan = make_plan(jobs, _stored(client, namespaces), defaults, pruned=pruned)
    if not options.as_json:
        for step in plan:
            if text := shown(step):
                click.echo(text)
    if options.is_dry:
        outcomes = [StepOutcome(step, _status_without_change(step) or StepStatus.PLANNED) for step in plan]
        _print(outcomes, options)
        return
    _confirm(plan, options)
    outcomes = []
    stopped: ClientError | None = None
    for outcome in _each(client, plan):
        if isinstance(outcome, ClientError):
            stopped = outcome
        else:
            outcomes.append(outcome)
    _print(outcomes, options)
    if stopped is not None:
        stopped.args = (f"{stopped}{_listed(outcomes, options)}",)
        raise stopped
    if failed := [outcome for outcome in outcomes if outcome.status is StepStatus.FAILED]:
        reasons = "".join(
            f"\n  {outcome.step.place or 'pruning'}: {outcome.step.namespace}/{outcome.step.name}: {outcome.error}"
            for outcome in failed
        )
        raise ApplyRefusedError(f"The daemon rejected changes:{reasons}{_listed(outcomes, options)}")


def _home(client: Client) -> str:
    me: Mapping[str, Any] = client.request("GET", "/v1/me").json()
    return str(me["namespace"] or me["username"])


def _stored(client: Client, namespaces: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for namespace in namespaces:
        yield from all_pages(client, "/v1/jobs", {"namespace": namespace})["results"]


def _status_without_change(step: PlanStep) -> StepStatus | None:
    return StepStatus.DONE if step.action is PlanAction.NOTHING else None


def _confirm(plan: Sequence[PlanStep], options: ApplyOptions) -> None:
    """Ask for confirmation before deleting, while nothing has been changed yet."""
    number = sum(step.action is PlanAction.DELETE for step in plan)
    if not number or options.yes:
        return
    what = f"{number} job{'s' if number > 1 else ''} with all runs and logs"
    if not options.can_ask:
        raise UsageError(f"Nothing was changed. --prune would delete {what}. Add --yes to confirm.")
    click.confirm(f"Delete {what}?", abort=True, err=True)


def _each(client: Client, plan: Sequence[PlanStep]) -> Iterator[StepOutcome | ClientError]:
    """The outcome of each step. A ClientError means that the remaining steps are skipped."""
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


def _print(outcomes: Sequence[StepOutcome], options: ApplyOptions) -> None:
    if options.as_json:
        show(as_data(outcomes, is_dry=options.is_dry))
    else:
        click.echo(summary(outcomes, is_dry=options.is_dry))


def _listed(outcomes: Sequence[StepOutcome], options: ApplyOptions) -> str:
    """The applied and the skipped jobs by name, and what to do next."""
    if options.as_json:
        return ""  # the JSON contains it
    lines = []
    for status, word in ((StepStatus.DONE, "applied"), (StepStatus.SKIPPED, "skipped")):
        names = [
            f"{outcome.step.namespace}/{outcome.step.name}"
            for outcome in outcomes
            if outcome.status is status and outcome.step.action is not PlanAction.NOTHING
        ]
        if names:
            lines.append(f"\n  {word}: {', '.join(names)}")
    return (
        "".join(lines)
        + "\n  Fix the errors and run the command again. Jobs that were already applied are left unchanged."
    )
