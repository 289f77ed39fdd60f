"""`/v1/hooks`: webhooks and their deliveries. `/v1/jobs/{job_id}/mails`: the emails about a job."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.answers import answer, answer_all
from api.http.bodies import body_of
from api.http.keys import CALLER, SERVICE
from api.http.paging import LARGEST_PAGE_SIZE, PAGE, envelope
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Body, Parameter, described
from api.operations.parameters import words
from api.operations.tags import HOOKS
from api.routes.paths import DELIVERY, HOOK, JOB
from api.schemas.common import ListOut
from api.schemas.hooks import READ_ONLY, DeliveryDetailOut, DeliveryOut, HookChange, HookCreate, HookOut
from scheduler.access.callers import Role
from scheduler.domain.hook import DeliveryStatus, SubjectType
from scheduler.domain.views import Page

#: Fields whose values are never shown, not even to the sender.
HIDDEN: Final = ("secret",)
STATUS: Final = Parameter("status", words(DeliveryStatus), "Only deliveries with this status.")


@described(
    "Create a webhook",
    tag=HOOKS,
    role=Role.EDITOR,
    body=Body(HookCreate, {"for a namespace": examples.HOOK_CREATE}),
    answers={201: Answer("The webhook.", HookOut, headers={"Location": "The URL of the webhook."})},
    refuses=(404, 409),
)
async def create_hook(request: web.Request) -> web.Response:
    """`POST /v1/hooks`: 201 with the webhook."""
    query_of(request)
    body = await body_of(request, HookCreate, what="webhook", read_only=READ_ONLY, hidden=HIDDEN)
    hook = await request.app[SERVICE].hooks.create(request[CALLER], body.given())
    return answer(HookOut.of_hook(hook), status=201, headers={"Location": f"/v1/hooks/{hook.id}"})


@described(
    "List webhooks",
    tag=HOOKS,
    query=(
        Parameter(
            "subject_type", words(SubjectType), "Only webhooks for jobs, or only those for namespaces."
        ),
        Parameter(
            "subject", {"type": "string"}, "Only webhooks of the job with this id, or of this namespace."
        ),
        *PAGE,
    ),
    answers={
        200: Answer(
            "A plain array, the oldest first; 1000 webhooks unless `page_size` is given.", list[HookOut]
        )
    },
)
async def list_hooks(request: web.Request) -> web.Response:
    """`GET /v1/hooks?subject_type=&subject=&page=&page_size=`: 200 with a plain array, the oldest first."""
    query = query_of(request)
    hooks = await request.app[SERVICE].hooks.list(
        request[CALLER],
        subject_type=query.word("subject_type", SubjectType),
        subject=query.get("subject"),
        # Unlike other lists, this one has no small default for the size of a page.
        page=Page(
            query.number("page"), query.number("page_size") if "page_size" in query else LARGEST_PAGE_SIZE
        ),
    )
    return answer_all([HookOut.of_hook(hook) for hook in hooks])


@described("Read a webhook", tag=HOOKS, answers={200: Answer("The webhook.", HookOut)})
async def get_hook(request: web.Request) -> web.Response:
    """`GET /v1/hooks/{hook_id}`: 200 with the webhook."""
    query_of(request)
    hook = await request.app[SERVICE].hooks.get(request[CALLER], request.match_info["hook_id"])
    return answer(HookOut.of_hook(hook))


@described(
    "Change a webhook",
    tag=HOOKS,
    role=Role.EDITOR,
    body=Body(HookChange, {"switch it off": {"is_active": False}}),
    answers={200: Answer("The webhook.", HookOut)},
    refuses=(409,),
    description="Fields that are left out stay as they are.",
)
async def change_hook(request: web.Request) -> web.Response:
    """`PUT` and `PATCH /v1/hooks/{hook_id}`: changes the fields in the body; 200 with the webhook."""
    query_of(request)
    body = await body_of(request, HookChange, what="webhook", read_only=READ_ONLY, hidden=HIDDEN)
    hook = await request.app[SERVICE].hooks.update(
        request[CALLER], request.match_info["hook_id"], body.given()
    )
    return answer(HookOut.of_hook(hook))


@described(
    "Delete a webhook",
    tag=HOOKS,
    role=Role.EDITOR,
    answers={204: Answer("The webhook and its deliveries are deleted.")},
)
async def delete_hook(request: web.Request) -> web.Response:
    """`DELETE /v1/hooks/{hook_id}`: 204; its deliveries are deleted with it."""
    query_of(request)
    await request.app[SERVICE].hooks.delete(request[CALLER], request.match_info["hook_id"])
    return web.Response(status=204)


@described(
    "Send a test to a webhook",
    tag=HOOKS,
    role=Role.OPERATOR,
    answers={200: Answer("The delivery, successful or not.", DeliveryDetailOut)},
)
async def test_hook(request: web.Request) -> web.Response:
    """`POST /v1/hooks/{hook_id}/test`: sends a test now; 200 with the delivery, successful or not."""
    query_of(request)
    delivery = await request.app[SERVICE].deliveries.test(request[CALLER], request.match_info["hook_id"])
    return answer(DeliveryDetailOut.of_delivery(delivery))


@described(
    "List the deliveries of a webhook",
    tag=HOOKS,
    query=(STATUS, *PAGE),
    answers={200: Answer("One page, the latest first.", ListOut[DeliveryOut])},
)
async def list_deliveries(request: web.Request) -> web.Response:
    """`GET /v1/hooks/{hook_id}/deliveries?status=&page=&page_size=`: 200 with one page, the latest first."""
    query = query_of(request)
    page = query.page()
    count, deliveries = await request.app[SERVICE].deliveries.list(
        request[CALLER],
        request.match_info["hook_id"],
        status=query.word("status", DeliveryStatus),
        page=page,
    )
    return envelope(request, page, count, [DeliveryOut.of_delivery(delivery) for delivery in deliveries])


@described(
    "Read a delivery", tag=HOOKS, answers={200: Answer("The delivery with its body.", DeliveryDetailOut)}
)
async def get_delivery(request: web.Request) -> web.Response:
    """`GET /v1/hooks/{hook_id}/deliveries/{delivery_id}`: 200 with the delivery and its body."""
    query_of(request)
    delivery = await request.app[SERVICE].deliveries.get(
        request[CALLER], request.match_info["hook_id"], request.match_info["delivery_id"]
    )
    return answer(DeliveryDetailOut.of_delivery(delivery))


@described(
    "Repeat a delivery",
    tag=HOOKS,
    role=Role.OPERATOR,
    answers={202: Answer("The delivery. It is pending again.", DeliveryDetailOut)},
)
async def redeliver(request: web.Request) -> web.Response:
    """`POST /v1/hooks/{hook_id}/deliveries/{delivery_id}/redeliver`: 202 with the delivery, pending again."""
    query_of(request)
    delivery = await request.app[SERVICE].deliveries.redeliver(
        request[CALLER], request.match_info["hook_id"], request.match_info["delivery_id"]
    )
    return answer(DeliveryDetailOut.of_delivery(delivery), status=202)


@described(
    "List the emails about a job",
    tag=HOOKS,
    query=(STATUS, *PAGE),
    answers={200: Answer("One page, the latest first.", ListOut[DeliveryOut])},
)
async def list_mails(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/mails?status=&page=&page_size=`: 200 with one page, the latest first."""
    query = query_of(request)
    page = query.page()
    count, deliveries = await request.app[SERVICE].deliveries.mails(
        request[CALLER],
        request.match_info["job_id"],
        status=query.word("status", DeliveryStatus),
        page=page,
    )
    return envelope(request, page, count, [DeliveryOut.of_delivery(delivery) for delivery in deliveries])


ROUTES: Final = (
    web.post("/v1/hooks", create_hook),
    web.get("/v1/hooks", list_hooks),
    web.get(HOOK, get_hook),
    web.put(HOOK, change_hook),
    web.patch(HOOK, change_hook),
    web.delete(HOOK, delete_hook),
    web.post(HOOK + "/test", test_hook),
    web.get(HOOK + "/deliveries", list_deliveries),
    web.get(DELIVERY, get_delivery),
    web.post(DELIVERY + "/redeliver", redeliver),
    web.get(JOB + "/mails", list_mails),
)
