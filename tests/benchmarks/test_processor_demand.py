import subprocess
import sys

from benchmarks import processor_demand


def said_of_a_command(seconds, path):
    command = [sys.executable, processor_demand.__file__, "sleep", seconds]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True).stdout


def test_a_gpu_is_watched_where_there_is_one(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '[N/A]'\nwhile true; do echo 42; sleep 0.1; done\n")
    program.chmod(0o755)
    assert "GPU at work 42 %" in said_of_a_command("1", f"{tmp_path}:/usr/bin:/bin")


def test_a_machine_without_one_says_nothing_of_it():
    said = said_of_a_command("0.1", "/usr/bin:/bin")
    assert "s of processor time" in said
    assert "GPU" not in said
