"""Where the status listener may be, as operators write it."""

import pytest

from zurl_py.config.listener import Listener, ListenerError, parse_listener


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("127.0.0.1:9116", Listener(host="127.0.0.1", port=9116)),
        ("localhost:9116", Listener(host="127.0.0.1", port=9116)),
        ("*:1", Listener(host="0.0.0.0", port=1)),
        ("0.0.0.0:65535", Listener(host="0.0.0.0", port=65535)),
        ("[::1]:9116", Listener(host="::1", port=9116)),
        ("[0:0::1]:9116", Listener(host="::1", port=9116)),
        ("unix:/run/zurl/status", Listener(path="/run/zurl/status")),
        ("unix:/run/a b:c", Listener(path="/run/a b:c")),
    ],
)
def test_addresses(text: str, listener: Listener) -> None:
    assert parse_listener(text) == listener
    assert parse_listener(str(listener)) == listener


@pytest.mark.parametrize(
    "text",
    [
        "9116",
        ":9116",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:9116/",
        "127.0.0.1:9116/metrics",
        "http://127.0.0.1:9116",
        "tcp://127.0.0.1:9116",
        "example.com:9116",
        "::1:9116",
        "[127.0.0.1]:9116",
        "[::1]",
        "[::1:9116",
        "[bad]:1",
        "127.1:9116",
        "127.0.0.1:９116",
        "unix:",
        "unix:relative",
        "unix:@name",
        "unix:/" + "x" * 107,
        "ipc:///run/zurl/status",
    ],
)
def test_text_that_is_no_address_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ListenerError, match=r"127\.0\.0\.1:9116 or unix:/run/zurl/status"):
        parse_listener(text)
