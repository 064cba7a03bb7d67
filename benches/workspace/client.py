"""Does with OpenHands' SDK what each line of its input says, and says how long that took.

A line is a JSON object. `do` says what is done, `name` to which workspace. The answer is
a line with `took`, a list of seconds, on the descriptor that the first argument names:
what the SDK writes goes to standard output.
"""

import json
import os
import sys
import time

from openhands.sdk.workspace import RemoteWorkspace
from openhands.workspace import ApptainerWorkspace

FORWARDED = ["OH_ENABLE_VSCODE", "OH_PRELOAD_TOOLS", "LITELLM_LOCAL_MODEL_COST_MAP"]
workspaces = {}


def start(name, sif):
    workspaces[name] = ApptainerWorkspace(sif_file=sif, forward_env=FORWARDED)


def connect(name, host, key, folder):
    workspaces[name] = RemoteWorkspace(host=host, api_key=key, working_dir=folder)


def execute(name, line):
    result = workspaces[name].execute_command(line)
    assert result.exit_code == 0, result


def first_output(name, line, expected):
    workspace = workspaces[name]
    command = workspace.start_command(line)
    while True:
        output = workspace.get_command_output(command)
        if output and expected in (output["stdout"] or ""):
            return


def stop(name):
    workspaces.pop(name).cleanup()


ACTIONS = {f.__name__: f for f in (start, connect, execute, first_output, stop)}
with os.fdopen(int(sys.argv[1]), "w") as answers:
    print(json.dumps({"took": []}), file=answers, flush=True)
    for request in sys.stdin:
        request = json.loads(request)
        action = ACTIONS[request.pop("do")]
        times = []
        for _ in range(request.pop("times", 1)):
            begin = time.perf_counter()
            action(**request)
            times.append(time.perf_counter() - begin)
        print(json.dumps({"took": times}), file=answers, flush=True)
