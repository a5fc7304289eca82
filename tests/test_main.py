"""The gateway's process ends with a sentence and exit code 2 where it cannot start."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["admin.key", "engine.key"])
def test_a_gateway_whose_key_is_empty_does_not_start(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that a gateway that starts all the same ends, too
        env = os.environ | {"LOREKEEP_HOME": str(tmp_path), "LOREKEEP_PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "app.main"]
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120)

    said = f"{tmp_path / name} is empty: delete it and start again to get a new key.\n"
    assert (ran.returncode, ran.stderr) == (2, said)
