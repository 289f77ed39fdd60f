"""What a run prints comes back as it was printed: bytes, length, order, stream; and what it is given arrives."""

from __future__ import annotations

import json

import pytest

from tests.lab.timeball import Timeball, script

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

EVERY_BYTE = bytes(range(256))
TEN_MEGABYTES = " ".join(map(str, range(1_500_000)))[:10_000_000].encode()


async def test_binary_output_comes_back_byte_by_byte(timeball: Timeball) -> None:
    """As text it is what was printed; as JSON what is no UTF-8 is shown by the replacement character."""
    octal = "".join(f"\\{value:03o}" for value in EVERY_BYTE)
    job, run = await timeball.run(script(f"printf '{octal}'"))

    path = f"/v1/jobs/{job}/execs/{run['id']}/logs?stream=stdout"
    status, raw = await timeball.send("GET", f"{path}&format=text")
    assert (status, raw) == (200, EVERY_BYTE)
    first, second = await timeball.logs(job, run["id"], stream="stdout")
    assert first["message"].encode() == EVERY_BYTE[:10]
    # Byte 13 is a lone carriage return: what follows it stands there in the end.
    assert second["message"].encode("utf-8")[:114] == EVERY_BYTE[14:128]
    assert second["message"].endswith("\N{REPLACEMENT CHARACTER}" * 8)


async def test_a_line_of_ten_megabytes_without_an_end_is_intact(timeball: Timeball) -> None:
    """As text and as JSON, in one piece."""
    job, run = await timeball.run(
        script("seq 0 1499999 | tr '\\n' ' ' | head -c 10000000"), resource_size="M"
    )

    assert run["status"] == "S", run
    path = f"/v1/jobs/{job}/execs/{run['id']}/logs?stream=stdout"
    status, raw = await timeball.send("GET", f"{path}&format=text")
    [line] = json.loads((await timeball.send("GET", path))[1])
    assert (status, len(raw)) == (200, len(TEN_MEGABYTES))
    # Not compared by assert itself, which would show where ten megabytes differ.
    is_same_text, is_same_json = raw == TEN_MEGABYTES, line["message"].encode() == TEN_MEGABYTES
    assert (is_same_text, is_same_json) == (True, True)


async def test_stdout_and_stderr_keep_their_order_and_their_stream(timeball: Timeball) -> None:
    """Timeball's own lines stand where they belong as well."""
    job, run = await timeball.run(
        script("for i in 1 2 3; do echo out $i; sleep 0.3; echo err $i >&2; sleep 0.3; done")
    )

    lines = [(line["stream"], line["message"]) for line in await timeball.logs(job, run["id"])]
    assert lines[:2] == [
        ("system", f"Start pulling image: {timeball.repository}:{timeball.tag}"),
        ("system", "Start running!"),
    ]
    assert lines[2:] == [
        (stream, f"{word} {number}")
        for number in range(1, 4)
        for stream, word in (("stdout", "out"), ("stderr", "err"))
    ]


async def test_many_lines_come_back_each_once(timeball: Timeball) -> None:
    """A hundred thousand of them, faster than they can be stored one by one."""
    job, run = await timeball.run("seq 100000", resource_size="M")

    status, raw = await timeball.send(
        "GET", f"/v1/jobs/{job}/execs/{run['id']}/logs?stream=stdout&format=text"
    )
    assert status == 200
    assert raw.split() == [b"%d" % number for number in range(1, 100_001)]


async def test_a_job_without_a_command_runs_the_images_own(timeball: Timeball, greeting_image: str) -> None:
    """An empty one likewise."""
    repository, tag = greeting_image.split(":")
    nothing: list[str | list[str] | None] = [None, "", []]
    for command in nothing:
        job, run = await timeball.run(command, docker_image_repo=repository, docker_image_tag=tag)
        assert run["status"] == "S", run
        assert await timeball.lines(job, run["id"]) == ["from the image itself"]


async def test_an_image_without_a_command_fails_to_start_where_the_job_has_none(timeball: Timeball) -> None:
    """The engine's words say what is missing."""
    _, run = await timeball.run(None)

    assert (run["status"], run["fail_reason"]) == ("F", "start_failed")
    assert "command" in run["error"].lower()


async def test_a_command_with_quotes_and_spaces_is_split_as_a_shell_would(timeball: Timeball) -> None:
    """A string is split into words, a list is taken as it is, and no shell looks at either."""
    command = """printf '<%s>\\n' "two words" it\\'s 'a "quote"' $HOME '' 你好"""
    job, run = await timeball.run(command)
    assert await timeball.lines(job, run["id"]) == [
        "<two words>",
        "<it's>",
        '<a "quote">',
        "<$HOME>",
        "<>",
        "<你好>",
    ]

    job, run = await timeball.run(["printf", "<%s>\\n", "'as it is'", "a b"])
    assert await timeball.lines(job, run["id"]) == ["<'as it is'>", "<a b>"]


async def test_variables_arrive_in_the_container(timeball: Timeball) -> None:
    """The trigger's replace the job's by name; values may hold anything but NUL."""
    job = await timeball.create(
        script('printf "%s|" "$PLAIN" "$ODD" "$ADDED"'),
        runtime_vars={"PLAIN": "job", "ODD": 'a=b "c" $d\nsecond 行'},
    )
    run = await timeball.trigger(job, runtime_vars={"PLAIN": "trigger", "ADDED": "yes"})
    await timeball.until_ended(job, run)

    assert "\n".join(await timeball.lines(job, run)) == 'trigger|a=b "c" $d\nsecond 行|yes|'
