import subprocess
import sys

import pytest

PROGRAM = """
import threading
import numpy as np
from mat2spec.tables.memory import release_memory, return_large_blocks

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

def work():
    # A small block above each large one keeps the C library from giving the large one back by itself.
    for size in (9, 17, 25):
        large = [np.ones(size * 2**17) for _ in range(4)]
        kept.append([np.ones(100) for _ in range(4)])
        del large

kept = []
{call}
threads = [threading.Thread(target=work) for _ in range(6)]
before = resident_mb()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident_mb() - before)
release_memory()
print(resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_large_blocks_that_threads_free_go_back_to_the_system():
    program = PROGRAM.format(call="return_large_blocks()")
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    at_once, released = map(float, said.split())
    assert at_once < 8
    assert released < 8
