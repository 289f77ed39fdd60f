"""Reads Kubernetes CronJobs (batch/v1), from manifests or the output of `kubectl get cronjob -o yaml`. Pure.

Fields and their defaults are as in the Kubernetes API reference. Values that the cluster fills in are ignored
silently if they equal the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from api.cli.declaring.documents import Node
from api.cli.importing.common import (
    add_mount,
    command_of,
    image_fields,
    quantity,
    set_capabilities,
    set_size,
)
from api.cli.importing.gocron import translate
from api.cli.importing.result import Imported, Part
from scheduler.domain.secret import is_name

_CONCURRENCY: Final = {"Allow": "allow", "Forbid": "forbid", "Replace": "replace"}
_PULL: Final = {"Always": "always", "IfNotPresent": "if_not_present", "Never": "never"}
#: Metadata that a cluster adds to every object.
_BOOKKEEPING: Final = (
    "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink", "generateName",
)  # fmt: skip
_OWN_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
#: Defaults that a cluster fills in. Fields with these values are ignored.
_FILLED_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "dnsPolicy": ("ClusterFirst",),
    "schedulerName": ("default-scheduler",),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "enableServiceLinks": ("true",),
    "parallelism": ("1",),
    "completions": ("1",),
    "completionMode": ("NonIndexed",),
    "hostNetwork": ("false",),
    "restartPolicy": ("Never", "OnFailure"),  # both retry, like max_retries
    "serviceAccount": ("default",),
    "serviceAccountName": ("default",),
    "suspend": ("false",),
    "manualSelector": ("false",),
    "privileged": ("false",),
    "stdin": ("false",),
    "tty": ("false",),
    "automountServiceAccountToken": ("false",),
    "allowPrivilegeEscalation": ("false",),  # containers never gain privileges
    "runAsNonRoot": ("false",),
    "optional": ("false",),
}
_HINTS: Final = {
    "successfulJobsHistoryLimit": "set retention_count and retention_days to limit the runs that are kept",
    "failedJobsHistoryLimit": "set retention_count and retention_days to limit the runs that are kept",
    "ttlSecondsAfterFinished": "set retention_days to limit how long runs are kept",
    "initContainers": "a job runs a single container",
    "volumes": "only directories of the host that the container mounts are imported",
    "volumeMounts": "only directories of the host are imported",
    "envFrom": "set the variables in runtime_vars, or use secrets",
    "imagePullSecrets": "set the credential with 'timeball registry set'",
    "nodeSelector": "set region_name to choose the engine",
    "affinity": "set region_name to choose the engine",
    "tolerations": "set region_name to choose the engine",
    "serviceAccountName": "containers have no cluster account",
    "serviceAccount": "containers have no cluster account",
    "workingDir": "the image's working directory is used",
    "hostNetwork": "jobs cannot share the host's network",
    "privileged": "jobs cannot be privileged; list the capabilities that the job needs",
    "allowPrivilegeEscalation": "containers cannot gain privileges",
    "runAsNonRoot": "set user; an administrator can require one (policy.require_non_root)",
    "optional": "a run fails if its secret is not set",
    "parallelism": "a run is a single container",
    "completions": "a run is a single container",
    "priorityClassName": "set priority",
    "annotations": "set labels",
    "podFailurePolicy": "set retry_on to choose which failures are retried",
}


def read_cronjobs(documents: list[Node]) -> Imported:
    """The jobs in a file.

    Args:
        documents: the documents, each an object or a List of objects.
    """
    result = Imported()
    for document in documents:
        for node in _objects(document):
            root = Part(node, "", result)
            kind = root.text("kind")
            if kind != "CronJob":
                name = root.part("metadata").text("name") or ""
                what = f"{kind or 'an object without a kind'} {name}".strip()
                result.lose(node.line, f"{what} is not imported: only CronJobs are supported")
                continue
            _read_cronjob(root, result)
    return result


def _objects(document: Node) -> list[Node]:
    """A document, or its items if it is a list."""
    if isinstance(document.value, list):
        return list(document.value)
    if isinstance(document.value, dict):
        items = document.value.get("items")
        kind = document.value.get("kind")
        if (
            items is not None
            and isinstance(items.value, list)
            and str(kind and kind.words()).endswith("List")
        ):
            return list(items.value)
    return [document]


def _read_cronjob(root: Part, result: Imported) -> None:
    root.set_aside(("apiVersion", "kind", "status"))
    metadata, spec = root.part("metadata"), root.part("spec")
    name = metadata.text("name") or metadata.text("generateName") or "job"
    metadata.path = f"{name}: metadata"
    fields: dict[str, Any] = {"name": name}
    if namespace := metadata.text("namespace"):
        fields["namespace"] = namespace
    labels = metadata.part("labels")
    if found := {label: labels.text(label, "") for label in labels.names()}:
        fields["labels"] = found
    annotations = metadata.part("annotations")
    annotations.set_aside((_OWN_ANNOTATION,))
    metadata.set_aside(_BOOKKEEPING)
    spec.path = f"{name}: spec"
    if not _take_timing(spec, fields, result, name):
        return
    template = spec.part("jobTemplate")
    work = template.part("spec")
    work.path = f"{name}: jobTemplate.spec"
    pods = work.part("template")
    pod = pods.part("spec")
    pod.path = f"{name}: pod"
    _take_work(work, fields)
    containers = list(pod.parts("containers"))
    if not containers:
        result.lose(spec.line, f"{name} is not imported: it has no containers")
        return
    for other in containers[1:]:
        other.note("", f"'{other.text('name', '')}' is not imported: a job runs a single container")
    main = containers[0]
    if not _take_container(main, fields, result):
        result.lose(main.line, f"{name} is not imported: its container has no image")
        return
    _take_mounts(pod, main, fields, result)
    _take_pod(pod, fields)
    for part in (template, pods):
        described = part.part("metadata")
        described.set_aside((*_BOOKKEEPING, "name"))
        described.close({"labels": "the job gets the labels of the CronJob"})
    for part in (annotations, metadata, root, spec, template, work, pods, pod, main):
        _close(part)
    result.add(root.line, fields)


def _close(part: Part) -> None:
    """Add notes on entries that were not read, except defaults filled in by a cluster."""
    for name, usual in _FILLED_IN.items():
        if name in part and part.text(name) not in usual:
            hint = _HINTS.get(name)
            part.note(name, f"{part.text(name)} is not imported{f': {hint}' if hint else ''}")
    part.set_aside(_FILLED_IN)
    part.close(_HINTS)


def _take_timing(spec: Part, fields: dict[str, Any], result: Imported, name: str) -> bool:
    found = translate(spec.text("schedule", "") or "")
    line = spec.line_of("schedule")
    if found.schedule is None:
        result.lose(line, f"{name} is not imported: {'; '.join(found.notes)}")
        return False
    for note in found.notes:
        spec.note("schedule", note)
    fields |= {"schedule_mode": found.schedule, "is_schedule_active": not spec.flag("suspend")}
    if (zone := spec.text("timeZone") or found.zone) is not None:
        fields["schedule_timezone"] = zone
    elif found.follows_wall_clock:
        result.follows_wall_clock = True
    policy = spec.text("concurrencyPolicy", "Allow") or "Allow"
    if policy in _CONCURRENCY:
        fields["concurrency_policy"] = _CONCURRENCY[policy]
    else:
        spec.note("concurrencyPolicy", f"{policy} is unknown; use Allow, Forbid or Replace")
    deadline = spec.whole("startingDeadlineSeconds", 0, 366 * 24 * 3600)
    if deadline is not None:
        fields |= {"misfire_policy": "skip", "misfire_grace_seconds": deadline}
    return True


def _take_work(work: Part, fields: dict[str, Any]) -> None:
    retries = work.whole("backoffLimit", 0, 100)
    fields["max_retries"] = 6 if retries is None else retries
    deadline = work.whole("activeDeadlineSeconds", 1, 366 * 24 * 3600)
    if deadline is not None:
        fields["timeout_seconds"] = deadline
        if fields["max_retries"]:
            work.note(
                "activeDeadlineSeconds",
                "applies to all attempts together; timeout_seconds applies to each attempt",
            )


def _take_container(container: Part, fields: dict[str, Any], result: Imported) -> bool:
    image = container.text("image")
    container.set_aside(("name",))
    if not image:
        return False
    fields |= image_fields(image)
    command, arguments = container.texts("command"), container.texts("args")
    if words := [*command, *arguments]:
        fields["command"] = command_of(words)
    if command:
        container.note(
            "command",
            "replaces the image's entrypoint in Kubernetes; in Timeball, the image's entrypoint gets these words",
        )
    if any(re.search(r"\$\([A-Za-z_]", word) for word in words):
        container.note(
            "command" if command else "args",
            "contains $(NAME), which is not expanded; use $NAME in a shell",
        )
    _take_variables(container, fields)
    resources = container.part("resources")
    limits, requests = resources.part("limits"), resources.part("requests")
    cpus, memory = _amount(limits, requests, "cpu"), _amount(limits, requests, "memory")
    set_size(result, resources.line, fields, cpus=cpus, memory=memory)
    for part in (limits, requests, resources):
        part.close({"ephemeral-storage": "resource sizes do not limit disks"})
    pull = container.text("imagePullPolicy")
    if pull is None:
        pull = (
            "Always"
            if fields.get("docker_image_tag", "latest") == "latest" and "@" not in image
            else "IfNotPresent"
        )
    if pull in _PULL:
        fields["pull_policy"] = _PULL[pull]
    else:
        container.note("imagePullPolicy", f"{pull} is unknown; use Always, IfNotPresent or Never")
    _take_security(container, fields, result)
    return True


def _amount(limits: Part, requests: Part, name: str) -> float | None:
    """The limit, or the request if there is no limit."""
    for part in (limits, requests):
        text = part.text(name)
        if text is not None:
            found = quantity(text)
            if found is None:
                part.note(name, f"{text!r} is not a valid quantity and is not imported")
            else:
                requests.set_aside((name,))
                return found
    return None


def _take_variables(container: Part, fields: dict[str, Any]) -> None:
    variables: dict[str, Any] = {}
    for variable in container.parts("env"):
        name = variable.text("name", "") or ""
        source = variable.part("valueFrom")
        if "valueFrom" not in variable:
            variables[name] = variable.text("value", "") or ""
            if "$(" in variables[name]:
                variable.note("value", f"of {name} contains $(NAME), which is not expanded")
        elif "secretKeyRef" in source:
            key = source.part("secretKeyRef")
            secret = f"{key.text('name', '')}.{key.text('key', '')}"
            if is_name(secret):
                variables[name] = {"secret": secret}
                key.note("", f"becomes the secret {secret}: set it with 'timeball secret set {secret}'")
            else:
                key.note("", f"is not imported: {secret!r} is not a valid name for a secret")
            _close(key)
        else:
            what = ", ".join(source.names())
            variable.note("valueFrom", f"of {name} ({what}) is not imported: set runtime_vars.{name}")
            source.set_aside(source.names())
        source.close()
        variable.close()
    if variables:
        fields["runtime_vars"] = variables


def _take_security(part: Part, fields: dict[str, Any], result: Imported) -> None:
    """Read the security context of a container or a pod. The container's takes precedence."""
    context = part.part("securityContext")
    user, group = context.text("runAsUser"), context.text("runAsGroup")
    if user is not None and "user" not in fields:
        fields["user"] = user if group is None else f"{user}:{group}"
    elif group is not None and user is None:
        context.note("runAsGroup", "is not imported: set user to UID:GID")
    if context.flag("readOnlyRootFilesystem"):
        fields["read_only_root"] = True
    capabilities = context.part("capabilities")
    set_capabilities(result, capabilities.line, fields, capabilities.texts("add"))
    capabilities.close(
        {"drop": "containers have few capabilities by default; the container policy sets them"}
    )
    _close(context)


def _take_mounts(pod: Part, container: Part, fields: dict[str, Any], result: Imported) -> None:
    """Add the directories of the host that the container mounts. Other volumes get a note."""
    paths: dict[str, str] = {}
    for volume in pod.parts("volumes"):
        name, host = volume.text("name", "") or "", volume.part("hostPath")
        if path := host.text("path"):
            paths[name] = path
            if (kind := host.text("type")) not in {None, "", "Directory", "File"}:
                host.note("type", f"{kind} is not imported: {path} must exist")
        else:
            what = ", ".join(key for key in volume.names() if key != "name") or "empty"
            volume.note("", f"'{name}' ({what}) is not imported: only directories of the host can be mounted")
            volume.set_aside(volume.names())
        host.close()
        volume.close()
    for mount in container.parts("volumeMounts"):
        name, target = mount.text("name", "") or "", mount.text("mountPath", "") or ""
        read_only = mount.flag("readOnly")
        if name in paths:
            source = "/".join(filter(None, (paths[name].rstrip("/"), mount.text("subPath")))) or "/"
            add_mount(result, mount.line, fields, source, target, read_only=read_only)
        else:
            mount.set_aside(("subPath",))
            mount.note("", f"of '{name}' at {target} is not imported because its volume is not imported")
        mount.close()


def _take_pod(pod: Part, fields: dict[str, Any]) -> None:
    grace = pod.whole("terminationGracePeriodSeconds", 0, 3600)
    fields["stop_grace_seconds"] = 30 if grace is None else grace
    context = pod.part("securityContext")
    user, group = context.text("runAsUser"), context.text("runAsGroup")
    if user is not None and "user" not in fields:
        fields["user"] = user if group is None else f"{user}:{group}"
    _close(context)
