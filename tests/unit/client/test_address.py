"""Gateway addresses: what each form names, and what is said where there is nothing."""

import socket
from pathlib import Path

import pytest

from zurl_py.client import Endpoints, GatewayUnavailable, address, resolve
from zurl_py.client.address import Embedded
from zurl_py.client.errors import GatewayNotConfigured


def conf(directory: Path, *lines: str) -> str:
    path = directory / "zurl.conf"
    path.write_text("\n".join(["[General]", *lines]) + "\n")
    return str(path)


def test_a_conf_names_its_four_specs(tmp_path: Path) -> None:
    path = conf(
        tmp_path,
        "in_spec=ipc:///x/in",
        "in_stream_spec=ipc:///x/in-stream",
        'out_spec="ipc:///x/out", tcp://*:1',
        "in_req_spec=ipc:///x/req",
    )
    expected = Endpoints("ipc:///x/in", "ipc:///x/in-stream", "ipc:///x/out", "ipc:///x/req")
    assert resolve(path) == [expected]
    assert resolve(Path(path)) == [expected]


@pytest.mark.parametrize(
    ("bound", "connected"),
    [
        ("tcp://*:5560", "tcp://127.0.0.1:5560"),
        ("tcp://0.0.0.0:5560", "tcp://127.0.0.1:5560"),
        ("tcp://[::]:5560", "tcp://[::1]:5560"),
        ("tcp://10.1.2.3:5560", "tcp://10.1.2.3:5560"),
        ("ipc:///run/*", "ipc:///run/*"),
    ],
)
def test_any_interface_means_this_machine(tmp_path: Path, bound: str, connected: str) -> None:
    assert resolve(conf(tmp_path, f"in_req_spec={bound}")) == [Endpoints(req=connected)]


def test_keys_of_other_sections_are_not_looked_at(tmp_path: Path) -> None:
    path = conf(tmp_path, "in_req_spec=ipc:///x/req", "[other]", "in_req_spec=ipc:///y/req")
    assert resolve(path) == [Endpoints(req="ipc:///x/req")]


def test_embedded_denies_private_addresses_unless_told_otherwise() -> None:
    (default,) = resolve("embedded")
    assert isinstance(default, Embedded)
    assert dict(default.settings)["deny"] == "@private"
    (open_to_all,) = resolve("embedded", {"deny": "", "allow": ["a.example", "b.example"]})
    assert isinstance(open_to_all, Embedded)
    assert dict(open_to_all.settings)["deny"] == ""
    assert dict(open_to_all.settings)["allow"] == "a.example,b.example"


def test_equal_settings_are_equal_whatever_their_order() -> None:
    one = resolve("embedded", {"timeout": 5, "deny": "@own"})
    other = resolve("embedded", {"deny": "@own", "timeout": "5"})
    assert one == other


def test_a_policy_is_for_an_embedded_gateway(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"running daemon is in its zurl\.conf"):
        resolve(conf(tmp_path, "in_req_spec=ipc:///x/req"), {"deny": "@private"})


@pytest.mark.parametrize("key", ["in_spec", "out_spec", "ipc_file_mode"])
def test_the_sockets_of_an_embedded_gateway_are_its_own(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        resolve("embedded", {key: "ipc:///x"})


def test_no_setting_can_bring_another_line_with_it() -> None:
    with pytest.raises(ValueError, match="line break"):
        resolve("embedded", {"deny": "@private\nallow=*"})


def test_a_list_names_several(tmp_path: Path) -> None:
    one, two = Endpoints(req="ipc:///1"), Endpoints(req="ipc:///2")
    assert resolve([one, two, conf(tmp_path, "in_req_spec=ipc:///3")]) == [
        one,
        two,
        Endpoints(req="ipc:///3"),
    ]
    with pytest.raises(ValueError, match="one at least"):
        resolve([])


def test_one_that_is_named_twice_is_one(tmp_path: Path) -> None:
    """A client with two sockets to it would get every packet twice."""
    one, other = Endpoints(req="ipc:///one"), Endpoints(req="ipc:///other")
    assert resolve([one, other, Endpoints(req="ipc:///one")]) == [one, other]
    assert len(resolve(["embedded", "embedded"])) == 1


def test_the_variable_comes_first(tmp_path: Path) -> None:
    path = conf(tmp_path, "in_req_spec=ipc:///x/req")
    assert resolve(environment={"ZURL_CONNECT": path}) == [Endpoints(req="ipc:///x/req")]
    assert isinstance(resolve(environment={"ZURL_CONNECT": "embedded"})[0], Embedded)
    named = "in=ipc:///1,in_stream=ipc:///2,out=ipc:///3"
    assert resolve(environment={"ZURL_CONNECT": named}) == [
        Endpoints("ipc:///1", "ipc:///2", "ipc:///3")
    ]
    other = tmp_path / "other.conf"
    other.write_text("[General]\nin_req_spec=ipc:///y/req\n")
    assert len(resolve(environment={"ZURL_CONNECT": f"{path}, {other}"})) == 2
    with pytest.raises(GatewayUnavailable, match=r"\$ZURL_CONNECT: /nowhere/zurl.conf: No such"):
        resolve(environment={"ZURL_CONNECT": "/nowhere/zurl.conf"})


def test_then_the_systems_file_if_its_sockets_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = conf(tmp_path, f"in_req_spec=ipc://{tmp_path}/req")
    monkeypatch.setattr(address, "DEFAULT_PATH", path)
    with pytest.raises(GatewayNotConfigured) as told:
        resolve(environment={})
    text = str(told.value)
    assert "$ZURL_CONNECT is not set" in text
    assert f"{tmp_path}/req" in text
    assert '"embedded"' in text
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/req")
        assert resolve(environment={}) == [Endpoints(req=f"ipc://{tmp_path}/req")]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(GatewayUnavailable, match=r"/nowhere/zurl\.conf: No such file"):
        resolve("/nowhere/zurl.conf")
    with pytest.raises(GatewayUnavailable, match="in_spec, in_stream_spec and out_spec"):
        resolve(conf(tmp_path, "in_spec=ipc:///x/in"))
    with pytest.raises(GatewayUnavailable, match="line 2"):
        resolve(conf(tmp_path, 'in_spec="ipc:///x/in'))


@pytest.mark.parametrize(
    "endpoints",
    [
        {},
        {"in_": "ipc:///1"},
        {"in_": "ipc:///1", "out": "ipc:///2", "req": "ipc:///3"},
        {"req": "/run/zurl/zurl-req"},
    ],
)
def test_invalid_endpoints_are_refused(endpoints: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="Endpoints"):
        Endpoints(**endpoints)


def test_one_endpoint_is_no_address() -> None:
    with pytest.raises(ValueError, match="one endpoint of several"):
        resolve("tcp://127.0.0.1:5560")
