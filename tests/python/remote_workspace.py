"""Does with a remote workspace all that it can do, and checks what comes of it."""

import asyncio
import os
import statistics
import time
import uuid
from pathlib import Path

from openhands.sdk.workspace import AsyncRemoteWorkspace, RemoteWorkspace, Workspace

where = dict(host=os.environ["HOST"], api_key=os.environ["KEY"], working_dir="/workspace")
workspace = Workspace(**where)
assert isinstance(workspace, RemoteWorkspace)


def execute(line, **options):
    result = workspace.execute_command(line, **options)
    return result.exit_code, result.stdout, result.stderr, result.timeout_occurred


def check(found, expected):
    assert found == expected, f"{found!r}, not {expected!r}"


assert workspace.alive
check(workspace.get_server_info()["version"], "1.58.2")

check(execute("command -v python3 python || echo none"), (0, "none\n", "", False))
check(execute("echo out; echo err >&2; exit 3"), (3, "out\n", "err\n", False))
check(execute("pwd"), (0, "/workspace\n", "", False))
check(execute("pwd", cwd="/etc"), (0, "/etc\n", "", False))
check(execute("printf 'grüße 😀'"), (0, "grüße 😀", "", False))
check(execute("kill -9 $$")[0], -9)
check(execute("echo a; sleep 0.4; echo b; sleep 0.4; echo c"), (0, "a\nb\nc\n", "", False))
check(execute("sleep 60 & echo begun"), (0, "begun\n", "", False))
check(execute("true", timeout=0.5), (0, "", "", False))
code, out, err, timed_out = execute("echo before; sleep 100", timeout=2)
check((code, out, timed_out), (-1, "before\n", True))
code, out, err, timed_out = execute("head -c 5000000 /dev/zero | tr '\\0' x", timeout=60)
check((code, len(out), out.strip("x")), (0, 5_000_000, ""))

for size in (0, 1, 70_000, 3_000_001):
    content = os.urandom(size)
    Path("source").write_bytes(content)
    path = f"/workspace/new-{size}/größe"
    result = workspace.file_upload("source", path)
    check((result.success, result.file_size, result.error), (True, size, None))
    result = workspace.file_download(path, f"back/{size}")
    check((result.success, result.file_size), (True, size))
    assert Path(f"back/{size}").read_bytes() == content
    execute(f"rm -r new-{size}")
result = workspace.file_download("/workspace/missing", "back/missing")
assert not result.success and "404" in result.error, result
assert not workspace.file_upload("source", "relative").success

check(workspace.git_changes("."), [])
execute("echo new >file; echo more >other")
changes = [(change.status.value, str(change.path)) for change in workspace.git_changes(".")]
check(changes, [("UPDATED", "file"), ("ADDED", "other")])
diff = workspace.git_diff("file")
check((diff.original, diff.modified), ("old\n", "new\n"))

command = workspace.start_command("echo begun; sleep 1000", timeout=100)
while (output := workspace.get_command_output(command)) is None:
    time.sleep(0.01)
check((output["stdout"], output["exit_code"]), ("begun\n", None))
workspace.stop_command(command)
check(workspace.get_command_output(command)["exit_code"], -15)
workspace.stop_command(command)
workspace.stop_command(uuid.uuid4().hex)

scoped = RemoteWorkspace(**where, runtime_conversation_id=uuid.uuid4())
check(scoped.execute_command("echo scoped").stdout, "scoped\n")
stranger = Workspace(**{**where, "api_key": "wrong"})
assert "401" in stranger.execute_command("true").stderr


async def at_once():
    async with AsyncRemoteWorkspace(**where) as other:
        assert other.alive
        check((await other.execute_command("echo async")).stdout, "async\n")


asyncio.run(at_once())

times = []
for _ in range(50):
    begun = time.perf_counter()
    check(workspace.execute_command("true").exit_code, 0)
    times.append(time.perf_counter() - begun)
print(f"true: median {statistics.median(times) * 1000:.1f} ms, longest {max(times) * 1000:.1f} ms")
