"""Attempts that are one URL each: spellings of addresses, tricks, schemes, connect-host."""

from typing import Any

from tests.labs.ssrf.lab import Attempt, Lab, register
from tests.labs.ssrf.network import PUBLIC4, answer_with, redirect_to

__all__: list[str] = []

IPV4 = """\
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.254 100.64.0.1 100.127.255.254 100.100.100.200 127.0.0.1
127.1.2.3 127.255.255.254 168.63.129.16 169.254.0.1 169.254.42.42 169.254.169.254 169.254.170.2
169.254.170.23 172.16.0.1 172.31.255.254 192.0.0.1 192.0.0.9 192.0.0.192 192.0.2.1 192.31.196.1
192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.254 192.175.48.1 198.18.0.1 198.19.255.254
198.51.100.1 203.0.113.1 240.0.0.1 255.255.255.254"""
IPV6 = """\
:: ::1 fc00::1 fd00::1 fd00:ec2::254 fd20:ce::254 fec0::1 100::1 100:0:0:1::1 200::1 4000::1
5f00::1 8000::1 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:db8::1
2620:4f:8000::1 3fff::1"""
# One IPv4 address in each form that embeds it; {0} is its last 32 bits as two hexadecimal groups.
EMBEDDINGS = {
    "mapped": "::ffff:{0}",
    "mapped-long": "0:0:0:0:0:ffff:{0}",
    "compatible": "::{0}",
    "translated": "::ffff:0:{0}",
    "nat64": "64:ff9b::{0}",
    "nat64-local": "64:ff9b:1::{0}",
    "6to4": "2002:{0}::1",
    "teredo-server": "2001:0:{0}::1",
    "isatap": "2606:4700::5efe:{0}",
    "isatap-global": "2606:4700::200:5efe:{0}",
}
HIDDEN = {"loopback": "7f00:1", "private": "a01:203", "metadata": "a9fe:a9fe"}
SPELLINGS = """\
127.1 127.0.1 2130706433 0x7f000001 0x7F.0.0.1 0x7f.1 0177.0.0.1 017700000001 127.0.0.1.
127.000.000.001 0 0x0 00 10.66051 0xa010203 012.1.2.3 167838211 2852039166 0xA9FEA9FE
0251.0376.0251.0376 169.16689662 0xa9.254.43518 １２７.0.0.1 127。0。0。1 ①②⑦.0.0.1 ⑩.1.2.3
%31%30.1.2.3 10.1.2.3%2e 10%2e1%2e2%2e3 ₁₀.1.2.3"""
TRICKS = {
    "backslash-at": "http://10.1.2.3\\@public.hosts.example/",
    "backslash-at-2": "http://public.hosts.example\\@10.1.2.3/",
    "backslash-path": "http://public.hosts.example\\.10.1.2.3/",
    "backslashes": "http:\\\\10.1.2.3\\",
    "one-slash": "http:/10.1.2.3/",
    "three-slashes": "http:///10.1.2.3/",
    "four-slashes": "http:////10.1.2.3/",
    "no-slashes": "http:10.1.2.3",
    "no-scheme": "10.1.2.3/",
    "no-scheme-slashes": "//10.1.2.3/",
    "user": "http://public.hosts.example@10.1.2.3/",
    "user-port": "http://public.hosts.example:80@10.1.2.3/",
    "user-password": "http://user:password@10.1.2.3/",
    "user-empty": "http://@10.1.2.3/",
    "two-ats": "http://a@public.hosts.example@10.1.2.3/",
    "two-ats-2": "http://a@10.1.2.3@public.hosts.example/",
    "at-encoded": "http://public.hosts.example%40@10.1.2.3/",
    "fragment-at": "http://10.1.2.3#@public.hosts.example/",
    "fragment-at-2": "http://public.hosts.example#@10.1.2.3/",
    "query-at": "http://10.1.2.3?@public.hosts.example/",
    "query-at-2": "http://public.hosts.example?@10.1.2.3/",
    "colon-at": "http://public.hosts.example:@10.1.2.3/",
    "two-ports": "http://10.1.2.3:80:80/",
    "port-plus": "http://10.1.2.3:+80/",
    "port-zeros": "http://10.1.2.3:00080/",
    "port-empty": "http://10.1.2.3:/",
    "port-redis": "http://10.1.2.3:6379/",
    "port-ssh": "http://10.1.2.3:22/",
    "leading-blank": " http://10.1.2.3/",
    "blank-in-host": "http://10.1.2.3 public.hosts.example/",
    "tab-in-host": "http://10.1.\t2.3/",
    "newline-in-host": "http://10.1.2.3\r\n.public.hosts.example/",
    "nul-in-host": "http://10.1.2.3\0.public.hosts.example/",
    "nul-encoded": "http://10.1.2.3%00.public.hosts.example/",
    "slash-encoded": "http://10.1.2.3%2f.public.hosts.example/",
    "hash-encoded": "http://10.1.2.3%23.public.hosts.example/",
    "newline-encoded": "http://10.1.2.3%0d%0a.public.hosts.example/",
    "zone": "http://[fe80::1%25lo]/",
    "zone-mapped": "http://[::ffff:10.1.2.3%25lo]/",
    "zone-bare": "http://[::1%lo]/",
    "brackets-ipv4": "http://[10.1.2.3]/",
    "brackets-open": "http://[::1/",
    "brackets-none": "http://::1/",
    "fullwidth-slash": "http://public.hosts.example\uff0f@10.1.2.3/",
    "fullwidth-at": "http://public.hosts.example\uff2010.1.2.3/",
    "zero-width": "http://10.\u200b1.2.3/",
    "soft-hyphen": "http://local\u00adhost/",
    "scheme-upper": "HTTP://10.1.2.3/",
    "https": "https://10.1.2.3/",
    "https-80": "https://10.1.2.3:80/",
    "ipv6-in-name": "http://10.1.2.3.:80/",
    "very-long": "http://" + "a" * 300 + ".10.1.2.3/",
}
SCHEMES = """\
file:///etc/passwd file://localhost/etc/passwd file://10.1.2.3/etc/passwd gopher://10.1.2.3:70/_x
dict://10.1.2.3:6379/info ftp://10.1.2.3/ ftps://10.1.2.3:21/ ldap://10.1.2.3:80/
telnet://10.1.2.3:22/ smtp://10.1.2.3:25/ imap://10.1.2.3:80/ pop3://10.1.2.3:80/
rtsp://10.1.2.3:80/ mqtt://10.1.2.3:80/ smb://10.1.2.3:80/ scp://10.1.2.3:22/ tftp://10.1.2.3/
unix:///run/x http+unix://%2fetc%2fpasswd/ jar:http://10.1.2.3/ url:http://10.1.2.3/
view-source:http://10.1.2.3/ javascript:10.1.2.3 data:,x"""
CONNECT_HOSTS = {
    "private": "10.1.2.3",
    "loopback": "127.0.0.1",
    "metadata": "169.254.169.254",
    "mapped": "::ffff:10.1.2.3",
    "nat64": "64:ff9b::a01:203",
    "6to4": "2002:a01:203::1",
    "ipv6-loopback": "::1",
    "brackets": "[::1]",
    "number": "167838211",
    "hex": "0xa010203",
    "octal": "012.1.2.3",
    "localhost": "localhost",
    "hosts-file": "intranet.hosts.example",
    "slash": "10.1.2.3/x",
    "colon": "10.1.2.3:80",
    "at": "public.hosts.example@10.1.2.3",
    "list": "10.1.2.3,93.184.215.14",
    "newline": "10.1.2.3\r\nx",
    "connect-to": "10.1.2.3:80:10.1.2.3",
}


def _get(name: str, group: str, uri: str, **fields: Any) -> None:
    register(Attempt(name, group, lambda lab: _discard(lab.get(uri, **fields))))


def _socket(name: str, group: str, uri: str, **fields: Any) -> None:
    register(Attempt(name, group, lambda lab: _discard(lab.websocket(uri, **fields))))


def _stream(name: str, group: str, uri: str, **fields: Any) -> None:
    register(Attempt(name, group, lambda lab: _discard(lab.stream(uri, **fields))))


def _discard(_: str) -> None:
    """An attempt says nothing about answers: what counts is what arrived."""


for _text in IPV4.split():
    _get(f"ipv4-{_text}", "IPv4 addresses", f"http://{_text}/")
for _text in IPV6.split():
    _get(f"ipv6-{_text}", "IPv6 addresses", f"http://[{_text}]/")
for _form, _pattern in EMBEDDINGS.items():
    for _name, _groups in HIDDEN.items():
        _address = _pattern.format(_groups)
        _get(f"embedded-{_form}-{_name}", "IPv4 inside of IPv6", f"http://[{_address}]/")
for _text in ("64:ff9b:1:a01:2:300::", "64:ff9b:1:0:a:102:300::", "2001:0:5db8:d70e:0:0:f5fe:fdfc"):
    _get(f"embedded-{_text}", "IPv4 inside of IPv6", f"http://[{_text}]/")
for _text in SPELLINGS.split():
    _get(f"spelling-{_text}", "Other spellings", f"http://{_text}/")
for _name, _uri in TRICKS.items():
    _get(f"trick-{_name}", "URL tricks", _uri)
for _uri in SCHEMES.split():
    _get(f"scheme-{_uri}", "Other schemes", _uri)
for _uri in ("file:///etc/passwd", "gopher://10.1.2.3:70/_x", "ftp://10.1.2.3/"):
    _stream(f"scheme-streamed-{_uri}", "Other schemes", _uri)
for _uri in ("ws://10.1.2.3:6379/", "ws:10.1.2.3", "wsx://10.1.2.3/"):
    _socket(f"scheme-{_uri}", "Other schemes", _uri)

for _text in ("10.1.2.3", "127.0.0.1", "0.0.0.0", "169.254.169.254", "2130706433", "0x7f.1"):
    _socket(f"websocket-{_text}", "WebSockets", f"ws://{_text}/")
for _text in ("::1", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "fd00::1"):
    _socket(f"websocket-{_text}", "WebSockets", f"ws://[{_text}]/")
for _text in ("localhost", "intranet.hosts.example", "public.hosts.example\\@10.1.2.3"):
    _socket(f"websocket-{_text}", "WebSockets", f"ws://{_text}/")
_socket("websocket-tls", "WebSockets", "wss://10.1.2.3/")
_socket(
    "websocket-connect-host",
    "WebSockets",
    "ws://public.hosts.example/",
    connect_host="10.1.2.3",
    connect_port=80,
)
for _code in (301, 302, 303, 307, 308):
    _socket(
        f"websocket-redirect-{_code}",
        "WebSockets",
        f"ws://{PUBLIC4}{redirect_to('ws://10.1.2.3/', _code)}",
        follow_redirects=True,
    )
for _name, _location in {
    "http": "http://10.1.2.3/",
    "relative-scheme": "//10.1.2.3/",
    "name": "ws://intranet.hosts.example/",
    "number": "ws://167838211/",
    "mapped": "ws://[::ffff:10.1.2.3]/",
    "gopher": "gopher://10.1.2.3:6379/_x",
}.items():
    _socket(
        f"websocket-redirect-{_name}",
        "WebSockets",
        f"ws://{PUBLIC4}{redirect_to(_location)}",
        follow_redirects=True,
    )

for _name, _text in CONNECT_HOSTS.items():
    _get(
        f"connect-host-{_name}",
        "connect-host",
        "http://public.hosts.example/",
        connect_host=_text,
        connect_port=80,
    )
_get("connect-host-alone", "connect-host", "http://public.hosts.example/", connect_host="10.1.2.3")
_get(
    "connect-host-private-uri",
    "connect-host",
    "http://10.1.2.3/",
    connect_host="127.0.0.1",
    connect_port=80,
)
_stream(
    "connect-host-streamed",
    "connect-host",
    "http://public.hosts.example/",
    connect_host="10.1.2.3",
    connect_port=80,
)
_get(
    "connect-host-trusted",
    "connect-host",
    "https://public.hosts.example/",
    connect_host="10.1.2.3",
    connect_port=443,
    trust_connect_host=True,
)
_get(
    "connect-host-redirect",
    "connect-host",
    f"http://public.hosts.example{redirect_to('http://10.1.2.3/')}",
    connect_host=PUBLIC4,
    connect_port=80,
    follow_redirects=True,
)

LOCATIONS = {
    "private": "http://10.1.2.3/",
    "loopback": "http://127.0.0.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "any": "http://0.0.0.0/",
    "relative-scheme": "//10.1.2.3/",
    "port": "http://10.1.2.3:6379/",
    "https": "https://10.1.2.3/",
    "mapped": "http://[::ffff:10.1.2.3]/",
    "nat64": "http://[64:ff9b::a01:203]/",
    "6to4": "http://[2002:a01:203::1]/",
    "number": "http://167838211/",
    "octal": "http://012.1.2.3/",
    "user": "http://public.hosts.example@10.1.2.3/",
    "backslash": "http://public.hosts.example\\@10.1.2.3/",
    "backslashes": "\\\\10.1.2.3\\",
    "name": "http://intranet.hosts.example/",
    "localhost": "http://localhost/",
    "encoded": "http://10%2e1%2e2%2e3/",
    "fullwidth": "http://１０.1.2.3/",
    "one-slash": "http:/10.1.2.3/",
    "three-slashes": "http:///10.1.2.3/",
    "ftp": "ftp://10.1.2.3/",
    "gopher": "gopher://10.1.2.3:6379/_x",
    "dict": "dict://10.1.2.3:6379/info",
    "file": "file:///etc/passwd",
    "ws": "ws://10.1.2.3/",
    "fragment": "http://10.1.2.3#@public.hosts.example/",
    "zone": "http://[fe80::1%25lo]/",
}
for _name, _location in LOCATIONS.items():
    _get(
        f"redirect-{_name}",
        "Redirects",
        f"http://{PUBLIC4}{redirect_to(_location)}",
        follow_redirects=True,
    )
for _code in (300, 301, 303, 304, 305, 306, 307, 308):
    _get(
        f"redirect-{_code}",
        "Redirects",
        f"http://{PUBLIC4}{redirect_to('http://10.1.2.3/', _code)}",
        follow_redirects=True,
    )
_get(
    "redirect-post",
    "Redirects",
    f"http://{PUBLIC4}{redirect_to('http://10.1.2.3/', 307)}",
    method="POST",
    body="x",
    follow_redirects=True,
)
_get(
    "redirect-of-redirect",
    "Redirects",
    f"http://{PUBLIC4}{redirect_to('http://public.hosts.example' + redirect_to('//10.1.2.3/'))}",
    follow_redirects=True,
)
_get(
    "redirect-two-locations",
    "Redirects",
    f"http://{PUBLIC4}"
    + answer_with(302, ("Location", f"http://{PUBLIC4}/"), ("Location", "http://10.1.2.3/")),
    follow_redirects=True,
)
_stream(
    "redirect-streamed",
    "Redirects",
    f"http://{PUBLIC4}{redirect_to('http://10.1.2.3/')}",
    follow_redirects=True,
)

_ROUTE = answer_with(
    200,
    ("Alt-Svc", 'h2="10.1.2.3:443", http/1.1="10.1.2.3:80"; ma=99999; persist=1'),
    ("Refresh", "0; url=http://10.1.2.3/"),
    ("Link", "<http://10.1.2.3/>; rel=preload"),
    ("Content-Location", "http://10.1.2.3/"),
    ("Strict-Transport-Security", "max-age=99999"),
    ("Set-Cookie", "a=b; Domain=10.1.2.3"),
)


def _after_alt_svc(lab: Lab) -> None:
    for _ in range(3):
        lab.get(f"http://{PUBLIC4}{_ROUTE}", headers=[["Connection", "close"]])
        lab.get(f"http://{PUBLIC4}/")


register(Attempt("headers-alt-svc", "Headers", _after_alt_svc))
for _name, _headers in {
    "host": [["Host", "10.1.2.3"]],
    "forwarded": [["X-Forwarded-Host", "10.1.2.3"], ["Forwarded", "host=10.1.2.3"]],
    "newline": [["X", "a\r\nHost: 10.1.2.3"]],
    "newline-request": [["X", "a\r\n\r\nGET http://10.1.2.3/ HTTP/1.1\r\nHost: 10.1.2.3"]],
    "proxy": [["Proxy", "http://10.1.2.3:3128"], ["Proxy-Connection", "keep-alive"]],
}.items():
    _get(f"headers-{_name}", "Headers", f"http://{PUBLIC4}/", headers=_headers)
_get(
    "headers-method", "Headers", f"http://{PUBLIC4}/", method="GET http://10.1.2.3/ HTTP/1.1\r\nX:"
)
_get("headers-connect", "Headers", f"http://{PUBLIC4}/", method="CONNECT")
for _name, _text in {
    "private": "10.1.2.3",
    "mapped": "[::ffff:10.1.2.3]",
    "nat64": "[64:ff9b::a01:203]",
}.items():
    _stream(f"streamed-{_name}", "Streamed requests", f"http://{_text}/")
    _stream(
        f"streamed-upload-{_name}", "Streamed requests", f"http://{_text}/", more=False, body="x"
    )
