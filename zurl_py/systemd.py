"""What the daemon needs of systemd: sd_notify(3), sd_watchdog_enabled(3), PrivateTmp=."""

from __future__ import annotations

import os
import socket

__all__ = ["notify", "private_tmp", "watchdog_interval"]


def notify(state: str) -> bool:
    """Send a state to the service manager, if there is one; never waits, never raises.

    Args:
        state: ``READY=1``, ``RELOADING=1``, ``STOPPING=1``, ``WATCHDOG=1``, ``STATUS=…``; several
            are separated by newlines.

    Returns:
        Whether it was sent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]  # Linux's abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            out.connect(address)
            out.send(state.encode())
    except OSError:
        return False
    return True


def watchdog_interval() -> float | None:
    """Seconds after which to send ``WATCHDOG=1`` again: half of what the manager allows.

    None if the manager does not watch this process.
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if watched and watched != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000


def private_tmp(mountinfo: str = "/proc/self/mountinfo") -> bool:
    """Whether this process has a /tmp of its own (``PrivateTmp=``), which others do not see."""
    try:
        with open(mountinfo, encoding="utf-8", errors="replace") as lines:
            mounts = [line.split(" ") for line in lines]
    except OSError:
        return False
    # Fields: id, parent, device, root within the file system, mount point, …; see proc(5).
    return any(
        fields[4] in ("/tmp", "/var/tmp") and "/systemd-private-" in fields[3]
        for fields in mounts
        if len(fields) > 4
    )
