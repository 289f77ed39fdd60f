"""CronJobs of Kubernetes: the example of its documentation, what a cluster fills in, and what has no counterpart."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

from typing import Any

import pytest

from api.cli.importing.detect import Format
from tests.unit.importing.cases import notes, one, taken

HELLO = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: hello
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - name: hello
            image: busybox:1.28
            imagePullPolicy: IfNotPresent
            command:
            - /bin/sh
            - -c
            - date; echo Hello from the Kubernetes cluster
          restartPolicy: OnFailure
"""


def manifest(
    *, spec: str = "", work: str = "", pod: str = "", container: str = "", metadata: str = ""
) -> str:
    """A small CronJob with some more lines."""
    return (
        "apiVersion: batch/v1\nkind: CronJob\n"
        f"metadata: {{name: a, {metadata}}}\n"
        f"spec:\n  schedule: '0 5 * * *'\n  timeZone: UTC\n  {spec}\n  jobTemplate:\n    spec:\n      {work}\n"
        f"      template:\n        spec:\n          restartPolicy: Never\n          {pod}\n"
        f"          containers:\n          - image: x:1\n            {container}\n"
    )


def test_the_example_of_the_documentation_is_carried_over():
    """With the defaults that it has there: six retries, half a minute to stop."""
    assert one(HELLO) == {
        "name": "hello",
        "docker_image_repo": "busybox",
        "docker_image_tag": "1.28",
        "command": ["/bin/sh", "-c", "date; echo Hello from the Kubernetes cluster"],
        "schedule_mode": "* * * * *",
        "is_schedule_active": True,
        "concurrency_policy": "allow",
        "max_retries": 6,
        "pull_policy": "if_not_present",
        "stop_grace_seconds": 30,
    }


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ({"spec": "concurrencyPolicy: Replace"}, {"concurrency_policy": "replace"}),
        ({"spec": "suspend: true"}, {"is_schedule_active": False}),
        ({"spec": "startingDeadlineSeconds: 200"}, {"misfire_policy": "skip", "misfire_grace_seconds": 200}),
        ({"spec": "timezone: x"}, {"schedule_timezone": "UTC"}),
        ({"work": "backoffLimit: 0"}, {"max_retries": 0}),
        ({"work": "activeDeadlineSeconds: 100"}, {"timeout_seconds": 100}),
        ({"pod": "terminationGracePeriodSeconds: 5"}, {"stop_grace_seconds": 5}),
        ({"pod": "securityContext: {runAsUser: 1000, runAsGroup: 5}"}, {"user": "1000:5"}),
        ({"container": "securityContext: {runAsUser: 7, readOnlyRootFilesystem: true, capabilities: {add: [NET_RAW]}}"}, {"user": "7", "read_only_root": True, "capabilities": ["NET_RAW"]}),
        ({"container": "args: [a, 'b c']"}, {"command": ["a", "b c"]}),
        ({"container": "command: [x]\n            args: [a]"}, {"command": "x a"}),
        ({"container": "env: [{name: A, value: '1'}, {name: B}, {name: P, valueFrom: {secretKeyRef: {name: db, key: password}}}]"}, {"runtime_vars": {"A": "1", "B": "", "P": {"secret": "db.password"}}}),
        ({"container": "resources: {limits: {cpu: 150m, memory: 64Mi}}"}, {"resource_size": "XXS"}),
        ({"container": "resources: {requests: {cpu: 1, memory: 1G}}"}, {"resource_size": "L"}),
        ({"container": "resources: {limits: {memory: 134217728}}"}, {"resource_size": "XS"}),
        ({"container": "imagePullPolicy: Never"}, {"pull_policy": "never"}),
        ({"container": "volumeMounts: [{name: v, mountPath: /b, subPath: c, readOnly: true}]", "pod": "volumes: [{name: v, hostPath: {path: /a}}]"}, {"mounts": [{"source": "/a/c", "target": "/b", "read_only": True}]}),
        ({"metadata": "namespace: team, labels: {app: x}"}, {"namespace": "team", "labels": {"app": "x"}}),
    ],
)  # fmt: skip
def test_fields_have_their_meaning(parts: dict[str, str], fields: dict[str, Any]):
    """That of the API reference."""
    job = one(manifest(**parts))
    assert {name: job.get(name) for name in fields} == fields


def test_an_image_without_a_tag_is_always_pulled():
    """As the cluster does where nothing else is said."""
    assert one(manifest().replace("x:1", "x"))["pull_policy"] == "always"
    assert one(manifest())["pull_policy"] == "if_not_present"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"spec": "successfulJobsHistoryLimit: 3"}, "a: spec.successfulJobsHistoryLimit is not imported: set retention_count and retention_days"),
        ({"spec": "concurrencyPolicy: Perhaps"}, "Perhaps is unknown"),
        ({"spec": "startingDeadlineSeconds: soon"}, "startingDeadlineSeconds is 'soon'"),
        ({"work": "activeDeadlineSeconds: 5"}, "applies to all attempts together"),
        ({"work": "completions: 3"}, "completions 3 is not imported: a run is a single container"),
        ({"work": "ttlSecondsAfterFinished: 5"}, "ttlSecondsAfterFinished is not imported"),
        ({"work": "backoffLimit: 500"}, "which is not allowed; 100 is used instead"),
        ({"pod": "initContainers: [{name: i, image: y}]"}, "initContainers is not imported: a job runs a single container"),
        ({"pod": "nodeSelector: {a: b}"}, "nodeSelector is not imported: set region_name"),
        ({"pod": "serviceAccountName: robot"}, "serviceAccountName robot is not imported"),
        ({"pod": "hostNetwork: true"}, "hostNetwork true is not imported"),
        ({"pod": "imagePullSecrets: [{name: x}]"}, "imagePullSecrets is not imported: set the credential with 'timeball registry set'"),
        ({"pod": "volumes: [{name: v, emptyDir: {}}]"}, "'v' (emptyDir) is not imported"),
        ({"container": "volumeMounts: [{name: v, mountPath: /b}]"}, "of 'v' at /b is not imported"),
        ({"container": "command: [x]"}, "replaces the image's entrypoint"),
        ({"container": "args: [$(A)]"}, "args contains $(NAME)"),
        ({"container": "env: [{name: A, value: $(B)}]"}, "of A contains $(NAME)"),
        ({"container": "env: [{name: A, valueFrom: {fieldRef: {fieldPath: x}}}]"}, "of A (fieldRef) is not imported"),
        ({"container": "env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: p}}}]"}, "timeball secret set db.p"),
        ({"container": "envFrom: [{secretRef: {name: x}}]"}, "envFrom is not imported"),
        ({"container": "livenessProbe: {exec: {command: [x]}}"}, "livenessProbe is not imported"),
        ({"container": "workingDir: /x"}, "workingDir is not imported: the image's working directory"),
        ({"container": "securityContext: {privileged: true}"}, "privileged true is not imported"),
        ({"container": "securityContext: {capabilities: {drop: [ALL]}}"}, "drop is not imported"),
        ({"container": "resources: {limits: {memory: lots}}"}, "'lots' is not a valid quantity"),
        ({"container": "resources: {limits: {ephemeral-storage: 1Gi}}"}, "ephemeral-storage is not imported"),
        ({"container": "securityContext: {runAsNonRoot: true}"}, "runAsNonRoot true is not imported: set user"),
        ({"container": "env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: p, optional: true}}}]"}, "optional true is not imported"),
        ({"pod": "volumes: [{name: v, hostPath: {path: /a, type: DirectoryOrCreate}}]"}, "/a must exist"),
        ({"container": "tty: true"}, "tty true is not imported"),
        ({"container": "imagePullPolicy: Sometimes"}, "Sometimes is unknown"),
        ({"metadata": "annotations: {a: b}"}, "metadata.annotations.a is not imported"),
        ({"container": "args: 5"}, ""),
    ],
)  # fmt: skip
def test_what_has_no_field_is_noted(parts: dict[str, str], said: str):
    """With its path."""
    found = notes(manifest(**parts)) or [(0, "")]
    assert any(said in text for _, text in found), found
    assert one(manifest(**parts))["name"] == "a"


def test_labels_of_pods_are_noted():
    """Those of the CronJob are the job's."""
    described = "      template:\n        metadata: {creationTimestamp: null, labels: {a: b}}\n"
    text = HELLO.replace("      template:\n", described)
    assert any(".metadata.labels is not imported" in note for _, note in notes(text))
    assert "labels" not in one(text)


def test_a_second_container_is_noted():
    """The first is the job."""
    text = HELLO.replace(
        "          restartPolicy", "          - {name: side, image: y}\n          restartPolicy"
    )
    assert any("containers[1] 'side' is not imported" in note for _, note in notes(text))
    assert one(text)["docker_image_repo"] == "busybox"


def test_what_a_cluster_fills_in_is_no_note():
    """As `kubectl get cronjob -o yaml` prints it, in a List."""
    filled = HELLO.replace(
        "  name: hello\nspec:",
        "  name: hello\n  uid: x\n  resourceVersion: '5'\n  generation: 1\n  managedFields: []\nspec:\n  suspend: false\n  timeZone: UTC\n  concurrencyPolicy: Allow",
        1,
    )
    filled = filled.replace(
        "          restartPolicy",
        "            resources: {limits: {cpu: 150m, memory: 64Mi}}\n            terminationMessagePath: /dev/termination-log\n            terminationMessagePolicy: File\n          dnsPolicy: ClusterFirst\n          schedulerName: default-scheduler\n          securityContext: {}\n          terminationGracePeriodSeconds: 30\n          restartPolicy",
    )
    filled += "status: {lastScheduleTime: x}\n"
    listed = "kind: List\napiVersion: v1\nitems:\n- " + filled.replace("\n", "\n  ").rstrip() + "\n"
    found = notes(listed)
    assert [text for _, text in found if "entrypoint" not in text] == []
    assert one(listed)["name"] == "hello"


def test_other_kinds_and_broken_objects_are_left_out():
    """Several documents; each is named."""
    text = (
        HELLO
        + "---\nkind: ConfigMap\nmetadata: {name: c}\n---\nkind: CronJob\nmetadata: {name: d}\nspec: {schedule: '@reboot'}\n"
        "---\nkind: CronJob\nmetadata: {name: e}\nspec: {schedule: '@daily'}\n---\n- 5\n"
        "---\nkind: CronJob\nmetadata: {name: f}\nspec: {schedule: '@daily', jobTemplate: {spec: {template: {spec: {containers: [{}]}}}}}\n"
    )
    jobs, result = taken(text)
    assert [job["name"] for job in jobs] == ["hello"]
    lost = [note.text for note in result.notes if note.lost]
    assert [text.split(" is not")[0] for text in lost if " is not" in text] == [
        "ConfigMap c",
        "d",
        "e",
        "an object without a kind",
        "f",
    ]


def test_a_schedule_without_a_zone_is_noted_for_the_file():
    """It follows the cluster's clock."""
    _, result = taken(HELLO, Format.CRONJOB)
    assert any(note.line is None and "--timezone" in note.text for note in result.notes)
