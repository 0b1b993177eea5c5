"""Workers end when they are told to, whatever the parent does with signals."""

import subprocess
import sys
import textwrap


def test_a_pool_ends_in_a_process_that_swallows_sigterm():
    # Lightning installs such a handler before it asks for the data.
    program = textwrap.dedent(
        """
        import signal
        from nemo_vtb.data.worker_pool import worker_pool
        signal.signal(signal.SIGTERM, lambda *_: print("swallowed"))
        for _ in range(20):
            with worker_pool(2) as pool:
                assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
