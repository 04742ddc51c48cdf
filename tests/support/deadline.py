"""Waiting for conditions, with a deadline that a slow machine can keep."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = float(os.environ.get("ZURL_TEST_DEADLINE", "40"))
"""Seconds after which something that should have happened counts as not happening."""


def ask_when_gone(ask: Callable[[], object]) -> None:
    """Asks by a client until it has seen that its gateway is gone; raises what `ask` raises then.

    What is asked before, in the moment in which the gateway ends, is lost with it.
    """

    def lost() -> bool:
        try:
            ask()
        except Exception as error:
            if "went away" not in str(error):
                raise
        return False

    wait_until(lost, "an error that says that no gateway is there")


def ask_until_in_time(ask: Callable[[], object], verdict: type[Exception]) -> None:
    """Asks by a client until `ask` raises `verdict`, and not another timeout of the client.

    Both count the same time, and the client does not wait for long for a gateway that is too busy
    to say in time what it waits for.
    """

    def told() -> bool:
        try:
            ask()
        except verdict:
            return True
        except Exception as error:
            if "Timeout" not in type(error).__name__:
                raise
        return False

    wait_until(told, f"{verdict.__name__}")


def wait_until(
    condition: Callable[[], T], what: str, timeout: float = DEADLINE, interval: float = 0.005
) -> T:
    """Asks `condition` until it is true and returns its value.

    Raises AssertionError, naming `what`, when `timeout` seconds have passed.
    """
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(interval)
