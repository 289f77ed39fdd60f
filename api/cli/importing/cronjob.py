"""Reads Kubernetes CronJobs (batch/v1), as manifests or as `kubectl get cronjob -o yaml` prints them. Pure.

Fields and their defaults are those of the Kubernetes API reference. What the cluster itself fills in is set aside
without a word where it says nothing but the default.
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
#: What a cluster writes into every object.
_BOOKKEEPING: Final = (
    "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink", "generateName",
)  # fmt: skip
_OWN_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
#: Defaults that a cluster fills in; at these values they say nothing.
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
    "restartPolicy": ("Never", "OnFailure"),  # both try again, as max_retries does
    "serviceAccount": ("default",),
    "serviceAccountName": ("default",),
    "suspend": ("false",),
    "manualSelector": ("false",),
    "privileged": ("false",),
    "stdin": ("false",),
    "tty": ("false",),
    "automountServiceAccountToken": ("false",),
    "allowPrivilegeEscalation": ("false",),  # no container here gains privileges
    "runAsNonRoot": ("false",),
    "optional": ("false",),
}
_HINTS: Final = {
    "successfulJobsHistoryLimit": "retention_days and retention_count say how many runs are kept",
    "failedJobsHistoryLimit": "retention_days and retention_count say how many runs are kept",
    "ttlSecondsAfterFinished": "retention_days and retention_count say how long runs are kept",
    "initContainers": "a job is one container",
    "volumes": "only directories of the host that the container mounts are",
    "volumeMounts": "only directories of the host are",
    "envFrom": "write the variables under runtime_vars, or set secrets",
    "imagePullSecrets": "log the engine in at the registry",
    "nodeSelector": "region_name says on which engine jobs run",
    "affinity": "region_name says on which engine jobs run",
    "tolerations": "region_name says on which engine jobs run",
    "serviceAccountName": "containers have no account of a cluster",
    "serviceAccount": "containers have no account of a cluster",
    "workingDir": "the image's own is used",
    "hostNetwork": "no job can share the host's network",
    "privileged": "no job can be privileged; name what it needs as capabilities",
    "allowPrivilegeEscalation": "no container here gains privileges",
    "runAsNonRoot": "name a user; the operator can demand one (require_non_root)",
    "optional": "a run whose secret is not set fails",
    "parallelism": "a run is one container",
    "completions": "a run is one container",
    "priorityClassName": "set priority",
    "annotations": "set labels",
    "podFailurePolicy": "retry_on says which ends are tried again",
}


def read_cronjobs(documents: list[Node]) -> Imported:
    """The jobs of a file.

    Args:
        documents: each an object, or a List of them.
    """
    result = Imported()
    for document in documents:
        for node in _objects(document):
            root = Part(node, "", result)
            kind = root.text("kind")
            if kind != "CronJob":
                name = root.part("metadata").text("name") or ""
                what = f"{kind or 'an object without a kind'} {name}".strip()
                result.lose(node.line, f"{what} is not carried over: only CronJobs are")
                continue
            _read_cronjob(root, result)
    return result


def _objects(document: Node) -> list[Node]:
    """A document, or what is in it if it is a list."""
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
        result.lose(spec.line, f"{name} is not carried over: it has no container")
        return
    for other in containers[1:]:
        other.note("", f"'{other.text('name', '')}' is not carried over: a job is one container")
    main = containers[0]
    if not _take_container(main, fields, result):
        result.lose(main.line, f"{name} is not carried over: its container has no image")
        return
    _take_mounts(pod, main, fields, result)
    _take_pod(pod, fields)
    for one in (template, pods):
        described = one.part("metadata")
        described.set_aside((*_BOOKKEEPING, "name"))
        described.close({"labels": "the labels of the CronJob are those of the job"})
    for part in (annotations, metadata, root, spec, template, work, pods, pod, main):
        _close(part)
    result.add(root.line, fields)


def _close(part: Part) -> None:
    """Make notes of what is left, but for what a cluster has filled in."""
    for name, usual in _FILLED_IN.items():
        if name in part and part.text(name) not in usual:
            hint = _HINTS.get(name)
            part.note(name, f"{part.text(name)} is not carried over{f': {hint}' if hint else ''}")
    part.set_aside(_FILLED_IN)
    part.close(_HINTS)


def _take_timing(spec: Part, fields: dict[str, Any], result: Imported, name: str) -> bool:
    found = translate(spec.text("schedule", "") or "")
    line = spec.line_of("schedule")
    if found.schedule is None:
        result.lose(line, f"{name} is not carried over: {'; '.join(found.notes)}")
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
        spec.note("concurrencyPolicy", f"{policy} is unknown: allow, forbid, queue and replace are possible")
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
                "is for all attempts together there; timeout_seconds is for each of them",
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
            "takes the place of the image's entrypoint there; here an entrypoint that the image has gets these words",
        )
    if any(re.search(r"\$\([A-Za-z_]", word) for word in words):
        container.note(
            "command" if command else "args",
            "holds $(NAME), which is not filled in here: use a shell's $NAME",
        )
    _take_variables(container, fields)
    resources = container.part("resources")
    limits, requests = resources.part("limits"), resources.part("requests")
    cpus, memory = _amount(limits, requests, "cpu"), _amount(limits, requests, "memory")
    set_size(result, resources.line, fields, cpus=cpus, memory=memory)
    for part in (limits, requests, resources):
        part.close({"ephemeral-storage": "sizes say nothing of disks"})
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
        container.note("imagePullPolicy", f"{pull} is unknown: Always, IfNotPresent and Never are")
    _take_security(container, fields, result)
    return True


def _amount(limits: Part, requests: Part, name: str) -> float | None:
    """A limit, or else what is requested."""
    for part in (limits, requests):
        text = part.text(name)
        if text is not None:
            found = quantity(text)
            if found is None:
                part.note(name, f"{text!r} is no quantity and is not carried over")
            else:
                requests.set_aside((name,))
                return found
    return None


def _take_variables(container: Part, fields: dict[str, Any]) -> None:
    variables: dict[str, Any] = {}
    for one in container.parts("env"):
        name = one.text("name", "") or ""
        source = one.part("valueFrom")
        if "valueFrom" not in one:
            variables[name] = one.text("value", "") or ""
            if "$(" in variables[name]:
                one.note("value", f"of {name} holds $(NAME), which is not filled in here")
        elif "secretKeyRef" in source:
            key = source.part("secretKeyRef")
            secret = f"{key.text('name', '')}.{key.text('key', '')}"
            if is_name(secret):
                variables[name] = {"secret": secret}
                key.note("", f"becomes the secret {secret}: set it with 'timeball secret set {secret}'")
            else:
                key.note("", f"is not carried over: {secret!r} is no name of a secret")
            _close(key)
        else:
            what = ", ".join(source.names())
            one.note("valueFrom", f"of {name} ({what}) is not carried over: write runtime_vars.{name}")
            source.set_aside(source.names())
        source.close()
        one.close()
    if variables:
        fields["runtime_vars"] = variables


def _take_security(part: Part, fields: dict[str, Any], result: Imported) -> None:
    """What a container's or a pod's security context says; the container's goes before the pod's."""
    context = part.part("securityContext")
    user, group = context.text("runAsUser"), context.text("runAsGroup")
    if user is not None and "user" not in fields:
        fields["user"] = user if group is None else f"{user}:{group}"
    elif group is not None and user is None:
        context.note("runAsGroup", "is not carried over: name it in user, as UID:GID")
    if context.flag("readOnlyRootFilesystem"):
        fields["read_only_root"] = True
    capabilities = context.part("capabilities")
    set_capabilities(result, capabilities.line, fields, capabilities.texts("add"))
    capabilities.close({"drop": "containers have few capabilities anyway; the container policy says which"})
    _close(context)


def _take_mounts(pod: Part, container: Part, fields: dict[str, Any], result: Imported) -> None:
    """Directories of the host that the container mounts; all other volumes are noted."""
    paths: dict[str, str] = {}
    for volume in pod.parts("volumes"):
        name, host = volume.text("name", "") or "", volume.part("hostPath")
        if path := host.text("path"):
            paths[name] = path
            if (kind := host.text("type")) not in {None, "", "Directory", "File"}:
                host.note("type", f"{kind} is not carried over: {path} has to be there")
        else:
            what = ", ".join(one for one in volume.names() if one != "name") or "empty"
            volume.note(
                "", f"'{name}' ({what}) is not carried over: only directories of the host can be mounted"
            )
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
            mount.note("", f"of '{name}' at {target} is not carried over, as its volume is not")
        mount.close()


def _take_pod(pod: Part, fields: dict[str, Any]) -> None:
    grace = pod.whole("terminationGracePeriodSeconds", 0, 3600)
    fields["stop_grace_seconds"] = 30 if grace is None else grace
    context = pod.part("securityContext")
    user, group = context.text("runAsUser"), context.text("runAsGroup")
    if user is not None and "user" not in fields:
        fields["user"] = user if group is None else f"{user}:{group}"
    _close(context)
