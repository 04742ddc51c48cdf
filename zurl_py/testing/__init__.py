"""For the tests of programs that use ``zurl_py.client``: a fake gateway, and a clock."""

from .clock import Clock
from .gateway import FakeAnswer, FakeError, FakeGateway, FakeRequest

__all__ = ["Clock", "FakeAnswer", "FakeError", "FakeGateway", "FakeRequest"]
