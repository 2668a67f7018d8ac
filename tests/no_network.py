"""Refuse every connection that leaves this computer, and write down that it was tried.

The tests import this file; notebooks' kernels run it as an IPython startup file (see conftest.py). An audit hook sees
the sockets of every library that uses Python's own, and code that catches the error can't hide it from the log.
"""

import os
import sys

LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")


def refuse(event, arguments):
    """The audit hook: raise for a connection or a look-up of a name that is not this computer's own."""
    if event in ("socket.connect", "socket.sendto"):
        place = arguments[1]
        host = place[0] if isinstance(place, tuple) else "localhost"  # a path or a number is a socket of this computer
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if host.startswith(LOOPBACK):
        return
    log = os.environ.get("COURSE_BLOCKED_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(host + "\n")
    raise OSError(f"The tests run without network, but something here tried to reach {host}.")


sys.addaudithook(refuse)
