"""The examples in Ruby and JavaScript are what the Python beside them takes over."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from resqpy import Project, open_project
from resqpy.base.errors import InvalidInputs
from resqpy.testing import drain
from tests.docs.pages import DOCS, Block, Stage, blocks
from tests.support.foreign import NodeDriver, RubyDriver
from tests.support.other_languages import require

CONNECT = """
require "resque"
Resque.redis = Redis::Namespace.new("resque", redis: Redis.new(url: ENV["REDIS_URL"]))
"""
PRINT = "\nconsole.log(JSON.stringify(exports.sendWelcomeEmail))"


def _of(page: str, kind: str) -> tuple[Block, list[Block]]:
    """The one example in another language, and the files of the project beside it."""
    found = list(blocks(DOCS / "how-to" / page))
    [foreign] = [block for block in found if block.kind == kind]
    return foreign, [block for block in found if block.file is not None]


@pytest.mark.ruby
async def test_what_ruby_enqueues_runs_here(stage: Stage, redis_url: str) -> None:
    """The real resque does what the page says, and the page's task has its job."""
    require("ruby", RubyDriver.missing())
    example, files = _of("from-ruby-resque.md", "ruby")
    for each in files:
        stage.write(each)

    _run("ruby", CONNECT + example.code, redis_url)

    async with open_project("."):
        ran = await drain(raising=True)
    assert [job.result for job in ran.jobs] == ["Welcome, ada@example.com"]


@pytest.mark.node
def test_the_task_of_actionhero_is_ours(stage: Stage, redis_url: str) -> None:
    """Its properties are those of the Python class beside it."""
    require("node", NodeDriver.missing())
    example, files = _of("from-actionhero.md", "js")
    for each in files:
        stage.write(each)

    theirs = json.loads(_run("node", example.code + PRINT, redis_url))

    ours = Project.load(".").registry.tasks[theirs["name"]]
    assert (ours.description, ours.queue) == (theirs["description"], theirs["queue"])
    assert ours.frequency_ms == theirs["frequency"]
    assert theirs["inputs"]["to"]["required"]
    with pytest.raises(InvalidInputs, match="to"):
        ours.inputs.check({})


def _run(program: str, code: str, url: str) -> str:
    environ = {**os.environ, "REDIS_URL": url}
    return subprocess.check_output([program, "-e", code], env=environ, text=True, timeout=20)
