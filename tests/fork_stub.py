"""What stands for a fork: asks fork_server.py for it, and passes signals and the end on.

python -S -E fork_stub.py SOCKET ARGUMENT ...     needs nothing but the standard library, so it starts in milliseconds
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.connect(sys.argv[1])
    wanted = {"env": dict(os.environ), "folder": os.getcwd(), "arguments": sys.argv[2:]}
    socket.send_fds(server, [b"\0"], [0, 1, 2])
    stream = server.makefile("rw")
    stream.write(json.dumps(wanted) + "\n")
    stream.flush()
    pid = int(stream.readline())
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = int(stream.readline())
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


main()
