"""Examples for the OpenAPI document: documented requests and answers of the systems that Timeball is compatible with.

Fields that those systems do not have are shown with their defaults. Tests send every request and validate every
answer against its schema.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Final

from scheduler.domain.job import ContainerOptions, JobDefinition

JOB_CREATE: Final[dict[str, Any]] = {
    "name": "test",
    "namespace": "chennanfei",
    "command": "bash",
    "docker_image_repo": "index.alauda.cn/chennanfei/job_image",
    "docker_image_tag": "latest",
    "resource_size": "XXS",
    "is_schedule_active": False,
    "schedule_mode": None,
    "runtime_vars": {"DB_HOST": "localhost"},
}
JOB_SCHEDULED: Final[dict[str, Any]] = {
    "name": "report",
    "docker_image_repo": "timeball/busybox",
    "docker_image_tag": "1",
    "command": ["sh", "-c", "echo Hello, $WHOM; date"],
    "runtime_vars": {"WHOM": "world"},
    "schedule_mode": "*/15 6-18 * * 1-5",
    "schedule_timezone": "Asia/Shanghai",
    "is_schedule_active": True,
    "misfire_policy": "skip",
    "concurrency_policy": "forbid",
    "timeout_seconds": 600,
    "max_retries": 3,
    "labels": {"team": "data"},
}
JOB_CHANGE: Final[dict[str, Any]] = {
    "name": "test2",
    "command": "/bin bash",
    "docker_image_tag": "trusty",
    "resource_size": "XS",
    "is_schedule_active": False,
    "schedule_mode": None,
    "runtime_vars": {"DB_HOST": "127.0.0.1"},
}


def _defaults(options: type[Any]) -> dict[str, Any]:
    """The defaults of a dataclass of the core, as JSON."""
    found: dict[str, Any] = {}
    for option in fields(options):
        if option.default_factory is not MISSING:
            found[option.name] = option.default_factory()
        elif option.default is not MISSING:
            is_list = isinstance(option.default, tuple)
            found[option.name] = list(option.default) if is_list else option.default
    return found


JOB: Final[dict[str, Any]] = {
    **_defaults(JobDefinition),
    "id": 146,
    "created_by": "chennanfei",
    "command": "bash",
    "docker_image_repo": "index.alauda.cn/chennanfei/job_image",
    "docker_image_tag": "latest",
    "name": "test",
    "region_name": "BEIJING1",
    "namespace": "chennanfei",
    "created_at": "2015-12-28T14:31:07.639255+00:00",
    "updated_at": "2015-12-28T14:31:07.639296+00:00",
    "resource_size": "XXS",
    "schedule_mode": "R1/2015-12-31T16:00:23.446Z/PT1H",
    "is_schedule_active": True,
    "runtime_vars": {"DB_HOST": "localhost"},
    "retry_on": ["exit_code"],
    "next_run_at": "2015-12-31T16:00:23.446000+00:00",
    "schedule_state": "active",
    "last_exec": None,
}
JOB_CHANGED: Final[dict[str, Any]] = {
    **JOB,
    **JOB_CHANGE,
    "updated_at": "2015-12-28T14:41:05.672783+00:00",
    "next_run_at": None,
    "schedule_state": "none",
}
EXEC_CREATE: Final[dict[str, Any]] = {
    "command": ["sh", "-c", "echo again"],
    "runtime_vars": {"DB_HOST": "127.0.0.1"},
    "priority": 10,
}
EXEC: Final[dict[str, Any]] = {
    "id": "64b2d045-2881-4293-9bcd-bdc04b953115",
    "job": 146,
    "docker_image_repo": "index.alauda.cn/chennanfei/job_image",
    "status": "W",
    "created_at": "2015-12-28T14:51:53.074169+00:00",
    "started_at": None,
    "ended_at": None,
    "runtime_vars": {"DB_HOST": "127.0.0.1"},
    "resource_size": "XS",
    "created_by": "chennanfei",
    "docker_image_tag": "trusty",
    "command": "/bin bash",
    "trigger_mode": "M",
    "duration": None,
    "region_name": "BEIJING1",
    "labels": {},
    "priority": 0,
    **_defaults(ContainerOptions),
    "exit_code": None,
    "fail_reason": None,
    "error": None,
    "stop_reason": None,
    "scheduled_for": None,
    "attempt": 1,
    "retry_of": None,
    "replay_of": None,
    "image_digest": None,
    "node": None,
    "waiting_for": None,
}
EXEC_FAILED: Final[dict[str, Any]] = {
    **EXEC,
    "status": "F",
    "started_at": "2015-12-28T14:52:02.952491+00:00",
    "ended_at": "2015-12-28T14:52:12.952491+00:00",
    "duration": {"hours": 0, "minutes": 0, "seconds": 10},
    "exit_code": 126,
    "fail_reason": "exit_code",
    "error": "The container ended with 126.",
}
EXEC_DETAIL: Final[dict[str, Any]] = {
    **EXEC_FAILED,
    "job": {**JOB_CHANGED, "runtime_vars": '{"DB_HOST": "127.0.0.1"}'},
}
LINES: Final[list[dict[str, Any]]] = [
    {
        "message": "Start pulling image: index.alauda.cn/chennanfei/job_demo:trusty",
        "time": 1451350944,
        "stream": "system",
        "timestamp": "2015-12-29T01:02:24.107312+00:00",
    },
    {
        "message": "Start running!",
        "time": 1451350945,
        "stream": "system",
        "timestamp": "2015-12-29T01:02:25.914550+00:00",
    },
]
HOOK_CREATE: Final[dict[str, Any]] = {
    "name": "tell the team",
    "url": "https://hooks.example.com/timeball",
    "secret": "correct horse battery staple",
    "subject_type": "namespace",
    "subject": "chennanfei",
    "events": ["job:fail", "job:miss"],
}
LOG_IN: Final = {"username": "ann", "password": "correct horse"}
USER_CREATE: Final = {
    "username": "ann",
    "password": "correct horse",
    "role": "editor",
    "namespace": "chennanfei",
}
TOKEN_CREATE: Final = {
    "name": "ci",
    "role": "operator",
    "namespace": "chennanfei",
    "expires_in_seconds": 2592000,
}

ORDINE_JOB_CREATE: Final = {"id": "job_manual_001", "pipelineId": "pipe_check_dao", "status": "pending"}
ORDINE_JOB_CHANGE: Final = {"status": "running"}
ORDINE_CANCEL: Final = {"status": "cancelled"}
ORDINE_JOB: Final = {
    "id": "job_manual_001",
    "pipelineId": "146",
    "pipelineName": "pipe_check_dao",
    "projectId": "proj_xxx",
    "status": "running",
    "result": None,
    "error": None,
    "startedAt": "2015-12-28T14:52:02.952Z",
    "completedAt": None,
    "createdAt": "2015-12-28T14:51:53.074Z",
}
GES_JOB: Final = {
    "jobId": "5a39d9f6-e955-4294-8ec6-2fe18eee98c7",
    "rawRequest": '{"job": 146, "name": "movie", "runtime_vars": {"source": "46", "target": "38"}}',
    "taskType": "Container",
    "canStop": False,
    "progress": "100",
    "startTime": "2024-05-23 09:41:40",
    "endTime": "2024-05-23 09:41:40",
    "status": "success",
}
EXPLORER_FILTER: Final = '{ "status": 2,  "orderByCreateTime": "asc"}'
EXPLORER_JOB: Final = {
    "id": 105,
    "name": "workflow_q745a_20220715090915",
    "workflowId": "4216617528",
    "workflowName": "workflow_q745a",
    "status": 2,
    "runBeginTime": 1657847358000,
    "runEndTime": 1657847364000,
    "createTime": 1657847355906,
}
