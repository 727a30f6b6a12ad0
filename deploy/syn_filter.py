"""The end of a listening socket, without resetting those who wait in its queue."""

import ctypes
import socket
import struct
import sys

_SO_ATTACH_FILTER = 26
_PROGRAM = (
    (0x30, 0, 0, 13),  # ldb [13]     the flags of the segment
    (0x54, 0, 0, 0x02),  # and #SYN
    (0x15, 1, 0, 0),  # jeq #0, 1, 0
    (0x06, 0, 0, 0),  # ret #0        drop it
    (0x06, 0, 0, 0xFFFF),  # ret #65535    let it pass
)
"""In classic BPF, as socket(7) has it. A listening socket sees the first segments of connections, and the last of their
handshakes: those that are half way are let in.
"""


def refuse_new_connections(listening: socket.socket) -> None:
    """Let nobody else into the queue of ``listening``, while whoever is in it can still be accepted.

    Closing the socket resets those in the queue, and there is always somebody in it under load. A client that is kept
    out asks again a second later: then there is another server, or the port is closed. On Linux alone; elsewhere, and
    where the kernel does not allow it, nothing happens.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *step) for step in _PROGRAM)
    held = ctypes.create_string_buffer(program)
    try:
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_PROGRAM), ctypes.addressof(held))
        )
    except OSError:
        return
