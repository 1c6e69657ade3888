"""Plays systemd for a socket-activated service: binds the sockets, starts the program with them,
receives its notifications, and restarts it when it has ended.

    activate.py PROGRAM ARGUMENTS…

Prints the two ports, then one line for each event. A line on standard input sends
SIGTERM to the program. Ends when the program has ended twice.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sessions = socket.create_server(("127.0.0.1", 0))
admin = socket.create_server(("127.0.0.1", 0))
print("ports", sessions.getsockname()[1], admin.getsockname()[1], flush=True)

path = os.path.join(tempfile.mkdtemp(), "notify")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path)


def notifications():
    while True:
        print("notified", notify.recv(4096).decode(), flush=True)


def hand_over():
    # Move both away first: either may be 3 or 4.
    high = [os.dup(sock.fileno()) for sock in (sessions, admin)]
    high = [os.dup2(fd, fd + 100) for fd in high]
    for number, fd in enumerate(high, 3):
        os.dup2(fd, number)


environment = os.environ | {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "aloud.socket:admin", "NOTIFY_SOCKET": path}
threading.Thread(target=notifications, daemon=True).start()
for start in range(2):
    # LISTEN_PID has to be the number of the process itself: that of the shell, which `exec` keeps.
    program = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *sys.argv[1:]]
    process = subprocess.Popen(
        program, env=environment, preexec_fn=hand_over, close_fds=False, stdout=subprocess.PIPE, text=True
    )
    print("said", process.stdout.readline().strip(), flush=True)
    sys.stdin.readline()
    process.send_signal(signal.SIGTERM)
    print("ended", process.wait(), flush=True)
