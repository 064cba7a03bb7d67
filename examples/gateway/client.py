"""A RemoteWorkspace as in any other program: nothing in it knows of the gateway."""

import os
import tempfile
from pathlib import Path

from openhands.sdk.workspace import Workspace

with Workspace(
    host=os.environ["WORKSPACE_HOST"],
    api_key=os.environ["WORKSPACE_API_KEY"],
    working_dir=os.environ["WORKSPACE_DIR"],
) as workspace:
    result = workspace.execute_command("command -v python3 || echo no Python here, in $PWD")
    print(result.stdout, end="")

    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "note.txt")
        note.write_text("from the SDK\n")
        workspace.file_upload(note, Path(workspace.working_dir, "note.txt"))
        workspace.execute_command("tr a-z A-Z <note.txt >loud.txt")
        loud = Path(folder, "loud.txt")
        workspace.file_download(Path(workspace.working_dir, "loud.txt"), loud)
        print(loud.read_text(), end="")

    result = workspace.execute_command("echo begun; sleep 60", timeout=1)
    print(f"{result.stdout.strip()}, and stopped: {result.timeout_occurred}")
