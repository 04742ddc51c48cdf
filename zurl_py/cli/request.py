"""``zurl-py get|post|put|patch|delete|head|request|send``: one request from the shell.

Options have curl's names and meaning where curl has one, request items are HTTPie's.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ..client import Client, Request, Timeout
from ..client.request import RequestArguments
from .connecting import (
    CERTIFICATE_OPTIONS,
    Connected,
    client_certificate,
    connect,
    gateway_options,
)
from .items import (
    Asked,
    add_items,
    as_sent,
    curl_data,
    form_part,
    full_url,
    split_header,
    urlencoded,
)
from .options import with_options
from .packets import show_packet
from .terminal import is_terminal

__all__ = [
    "delete",
    "get",
    "head",
    "patch",
    "post",
    "put",
    "request",
    "send",
]

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_FORMATS: Final = ("J", "T", "M")

# The options of a request: their names, and arguments for click.
_REQUEST_OPTIONS: Final = (
    (("-X", "--request", "method_option"), {"metavar": "METHOD", "help": "Another method."}),
    (("-H", "--header"), {"multiple": True, "metavar": "HEADER", "help": "'Name: value'."}),
    (("-d", "--data"), {"multiple": True, "metavar": "DATA", "help": "A form; @FILE reads it."}),
    (("--data-binary",), {"multiple": True, "metavar": "DATA", "help": "As it is, or @FILE."}),
    (("--data-urlencode",), {"multiple": True, "metavar": "DATA", "help": "Percent-encoded."}),
    (("--json", "json_data"), {"multiple": True, "metavar": "JSON", "help": "A JSON body."}),
    (("-F", "--form"), {"multiple": True, "metavar": "NAME=VALUE", "help": "A multipart form."}),
    (("-T", "--upload-file"), {"metavar": "FILE", "help": "Stream a file, or - for stdin."}),
    (("-G", "--get", "data_to_query"), {"is_flag": True, "help": "Put -d into the query."}),
    (("--url-query",), {"multiple": True, "metavar": "DATA", "help": "Add to the query."}),
    (("-u", "--user"), {"metavar": "USER[:PASSWORD]", "help": "Basic authentication."}),
    (("--bearer", "--oauth2-bearer"), {"metavar": "TOKEN", "help": "Bearer authentication."}),
    (("-A", "--user-agent"), {"metavar": "NAME", "help": "User-Agent."}),
    (("-e", "--referer"), {"metavar": "URL", "help": "Referer."}),
    (("-b", "--cookie"), {"multiple": True, "metavar": "NAME=VALUE", "help": "A cookie."}),
    (("-L", "--location"), {"is_flag": True, "help": "Follow redirects."}),
    (("--max-redirs",), {"type": click.IntRange(0, 20), "help": "At most so many (default 8)."}),
    (("-m", "--max-time"), {"type": click.FloatRange(0), "help": "Seconds for all of it."}),
    (("--connect-timeout",), {"type": click.FloatRange(0), "help": "Seconds to connect."}),
    (("-k", "--insecure"), {"is_flag": True, "help": "Accept any certificate."}),
    (("--connect-to",), {"multiple": True, "metavar": "HOST:PORT:HOST:PORT", "help":
        "Connect there instead."}),
    (("-E", *CERTIFICATE_OPTIONS[0][0]), CERTIFICATE_OPTIONS[0][1]),
    *CERTIFICATE_OPTIONS[1:],
    (("--http1.1", "http1"), {"is_flag": True, "help": "HTTP/1.1 only."}),
    (("--http2",), {"is_flag": True, "help": "HTTP/2 at most."}),
    (("--http3",), {"is_flag": True, "help": "HTTP/3 where the origin can."}),
    (("--max-size",), {"type": click.IntRange(0), "metavar": "BYTES", "help":
        "Refuse a larger answer."}),
    (("--truncate",), {"is_flag": True, "help": "Cut it at --max-size instead."}),
    (("--raw",), {"is_flag": True, "help": "Do not undo Content-Encoding."}),
    (("--host", "host_header"), {"metavar": "NAME", "help": "Another Host header, if allowed."}),
    (("--ignore-policies",), {"is_flag": True, "help": "Ask the gateway to set its policy aside."}),
    (("--ext",), {"multiple": True, "metavar": "NAME=JSON", "help": "An entry of ext."}),
    (("--user-data",), {"metavar": "JSON", "help": "What the gateway echoes."}),
    (("--credits",), {"type": click.IntRange(1), "metavar": "BYTES", "help":
        "How far the gateway may be ahead."}),
    (("--format", "packet_format"), {"type": click.Choice(_FORMATS), "default": "T", "help":
        "Of the packets: JSON, TNetString, MessagePack."}),
    (("--packets",), {"is_flag": True, "help": "Show every ZHTTP message on stderr."}),
)  # fmt: skip
_ANSWER_OPTIONS: Final = (
    (("-i", "--include"), {"is_flag": True, "help": "Print the answer's head, too."}),
    (("-I", "--head"), {"is_flag": True, "help": "HEAD, and print the head."}),
    (("-v", "--verbose"), {"is_flag": True, "help": "Tell what happens on stderr."}),
    (("-s", "--silent"), {"is_flag": True, "help": "No progress and no errors."}),
    (("-S", "--show-error"), {"is_flag": True, "help": "With -s: errors all the same."}),
    (("-o", "--output"), {"metavar": "FILE", "help": "Write the body there; - is stdout."}),
    (("-O", "--remote-name"), {"is_flag": True, "help": "Write it to the URL's last part."}),
    (("-D", "--dump-header"), {"metavar": "FILE", "help": "Write the head there; - is stdout."}),
    (("-w", "--write-out"), {"metavar": "FORMAT", "help": "Print variables such as %{http_code}."}),
    (("-f", "--fail"), {"is_flag": True, "help": "Status of 400 and more: exit 22, no body."}),
    (("--fail-with-body",), {"is_flag": True, "help": "The same with the body."}),
    (("--retry",), {"type": click.IntRange(0), "default": 0, "metavar": "N", "help":
        "Try transient failures again."}),
    (("--stream",), {"is_flag": True, "help": "Print the body as it comes, not formatted."}),
    (("--explain",), {"is_flag": True, "help": "What the policy says of it, first."}),
)  # fmt: skip


def _command(method: str) -> click.Command:
    part = "head" if method == "HEAD" else "body"

    @click.command(method.lower(), help=f"{method} URL, and print the answer's {part}.\n\n{_ITEMS}")
    @click.argument("url")
    @click.argument("items", nargs=-1, metavar="[ITEM]...")
    @with_options(_REQUEST_OPTIONS, _ANSWER_OPTIONS)
    @gateway_options
    def command(url: str, items: tuple[str, ...], **options: Any) -> None:
        options["head"] = options["head"] or method == "HEAD"  # its answer has nothing else
        _run(options["method_option"] or method, url, items, options)

    return command


_ITEMS: Final = (
    "ITEM is Name:value (a header), name==value (the query), name=value or name:=json (a JSON "
    "body), name@file (a multipart form). :8000/x is http://localhost:8000/x."
)

get = _command("GET")
post = _command("POST")
put = _command("PUT")
patch = _command("PATCH")
delete = _command("DELETE")
head = _command("HEAD")


@click.command(help=f"Send a request with any METHOD, and print the answer's body.\n\n{_ITEMS}")
@click.argument("method")
@click.argument("url")
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@with_options(_REQUEST_OPTIONS, _ANSWER_OPTIONS)
@gateway_options
def request(method: str, url: str, items: tuple[str, ...], **options: Any) -> None:
    """Any method; see ``_command``."""
    _run(options["method_option"] or method, url, items, options)


@click.command(
    help="Fire and forget: have the gateway make a request, and wait for no answer.\n\n"
    f"POST if there is a body, else GET; -X says another method.\n\n{_ITEMS}"
)
@click.argument("url")
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@with_options(_REQUEST_OPTIONS)
@gateway_options
def send(url: str, items: tuple[str, ...], **options: Any) -> None:
    """Without an answer."""
    from .answer import forget

    asked = _headers_and_body(items, options)
    method = options["method_option"] or ("POST" if asked.has_body else "GET")
    raise SystemExit(
        forget(lambda: _open(options), lambda c: build(c, method, url, asked, options))
    )


def _run(method: str, url: str, items: tuple[str, ...], options: dict[str, Any]) -> None:
    from .answer import perform

    asked = _headers_and_body(items, options)
    if options["head"]:
        method = options["method_option"] or "HEAD"
    raise SystemExit(
        perform(lambda: _open(options), lambda c: build(c, method, url, asked, options), options)
    )


def _open(options: dict[str, Any]) -> tuple[Client, Connected]:
    """The client, and the gateway that it uses.

    Raises:
        GatewayUnavailable: no gateway is configured.
    """
    found = connect(options)
    tracer = show_packet if options["packets"] else None
    client = Client(found.gateways, on_packet=tracer, format=options["packet_format"])
    return client, found


def _headers_and_body(items: tuple[str, ...], options: dict[str, Any]) -> Asked:
    """Headers and body, from options and items.

    Raises:
        click.UsageError: there is more than one body, or an argument or file cannot be read.
    """
    asked = Asked()
    asked.headers += [split_header(text) for text in options["header"]]
    add_items(asked, items)
    asked.parts += [form_part(text) for text in options["form"]]
    asked.params += [urlencoded(text).decode() for text in options["url_query"]]
    asked.data += [curl_data(text) for text in options["data"]]
    asked.data += [curl_data(text, binary=True) for text in options["data_binary"]]
    asked.data += [urlencoded(text) for text in options["data_urlencode"]]
    if options["data_to_query"]:
        asked.params += [data.decode("utf-8", "surrogateescape") for data in asked.data]
        asked.data = []
    if options["json_data"]:
        asked.content = b"".join(curl_data(text, binary=True) for text in options["json_data"])
        asked.content_type = _JSON
        asked.headers.append(("Accept", _JSON))
    if options["upload_file"]:
        asked.content = _file(options["upload_file"])
    kinds = asked.kinds()
    if len(kinds) > 1:
        raise click.UsageError(f"a request has one body, and there are {' and '.join(kinds)}")
    return asked


def _file(path: str) -> Any:
    if path == "-":
        # Unbuffered: what has come is sent at once, and a terminal has to end it only once.
        return os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    try:
        return open(os.path.expanduser(path), "rb")
    except OSError as error:
        raise click.UsageError(f"-T: cannot read {path}: {error.strerror}") from None


def build(client: Client, method: str, url: str, asked: Asked, options: dict[str, Any]) -> Request:
    """The request for the client to send."""
    url = full_url(url)
    arguments: dict[str, Any] = _arguments(url, options)
    if asked.params:
        arguments["params"] = "&".join(asked.params)
    _add_body(arguments, asked)
    headers = _headers(asked, options)
    arguments["headers"] = [
        (as_sent(name), as_sent(value)) for name, value in headers if value is not None
    ]
    made = client.build_request(method, url, **RequestArguments(**arguments))  # type: ignore[typeddict-item]
    gone = {as_sent(name.lower()) for name, value in headers if value is None}
    made.headers.raw[:] = [pair for pair in made.headers.raw if pair[0].lower() not in gone]
    return made


def _add_body(arguments: dict[str, Any], asked: Asked) -> None:
    if asked.data:
        arguments["content"] = b"&".join(asked.data)
        asked.content_type = _FORM
    elif asked.fields:
        arguments["json"] = asked.fields
    elif asked.parts:
        arguments["files"] = asked.parts
    elif asked.content is not None:
        arguments["content"] = asked.content


def _headers(asked: Asked, options: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Headers that were given, then those from options; a given header precedes an option's."""
    headers = list(asked.headers)
    typed = {name.lower() for name, _ in headers}

    def add(name: str, value: str | None) -> None:
        if value is not None and name.lower() not in typed:
            headers.append((name, value))

    add("Content-Type", asked.content_type)
    add("User-Agent", options["user_agent"])
    add("Referer", options["referer"])
    add("Cookie", "; ".join(options["cookie"]) or None)
    add("Authorization", _authorization(options))
    return headers


def _authorization(options: dict[str, Any]) -> str | None:
    if options["bearer"] is not None:
        return f"Bearer {options['bearer']}"
    user = options["user"]
    if user is None:
        return None
    if ":" not in user:
        ask = is_terminal(sys.stdin)
        password = click.prompt(f"Password for {user}", hide_input=True, err=True) if ask else ""
        user = f"{user}:{password}"
    return "Basic " + base64.b64encode(as_sent(user)).decode()


def _arguments(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """The client's arguments beside method, headers and body."""
    total = options["max_time"] or None
    found: dict[str, Any] = {
        "timeout": Timeout(connect=options["connect_timeout"] or 10.0, pool=60.0, total=total),
        "ignore_tls_errors": options["insecure"],
        "ignore_policies": options["ignore_policies"],
        "raw": options["raw"],
        "truncate": options["truncate"],
        "max_size": options["max_size"],
        "ext": _ext(options["ext"]),
    }
    if options["location"]:
        found |= {"follow_redirects": True, "history": True}
        if options["max_redirs"] is not None:
            found["max_redirects"] = options["max_redirs"]
        if not options["method_option"]:
            found["redirect_method"] = "get"
    for key in ("credits", "host_header"):
        if options[key] is not None:
            found[key.removesuffix("_header")] = options[key]
    if options["user_data"] is not None:
        found["user_data"] = _as_json("--user-data", options["user_data"])
    if options.get("verbose") or options.get("write_out"):
        found["timing"] = True
    found |= _version(options) | client_certificate(options)
    found |= _connect_to(url, options["connect_to"])
    return found


def _ext(entries: Sequence[str]) -> dict[str, Any]:
    ext: dict[str, Any] = {}
    for entry in entries:
        if entry[:1] == "{":
            value = _as_json("--ext", entry)
            ext.update(value)
            continue
        name, equals, text = entry.partition("=")
        ext[name] = _as_json("--ext", text) if equals else True
    return ext


def _as_json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r}: not JSON: {error}") from None


def _version(options: dict[str, Any]) -> dict[str, Any]:
    flags = {"http1": "1.1", "http2": "2", "http3": "3"}
    asked = [version for flag, version in flags.items() if options[flag]]
    if len(asked) > 1:
        raise click.UsageError("--http1.1, --http2 and --http3: give one of them")
    return {"http_version": asked[0]} if asked else {}


def _connect_to(url: str, rules: Sequence[str]) -> dict[str, Any]:
    """Apply the first rule of ``--connect-to`` that matches the URL's host and port, as in curl: an
    empty part before matches all, an empty part after changes nothing.
    """
    if not rules:
        return {}
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = str(parts.port or {"https": 443, "wss": 443}.get(parts.scheme, 80))
    except ValueError:  # the gateway says what is wrong with it
        return {}
    for rule in rules:
        pieces = _pieces(rule)
        if pieces[0].lower() in ("", host) and pieces[1] in ("", port):
            found: dict[str, Any] = {}
            if pieces[2]:
                found["connect_host"] = pieces[2]
            if pieces[3]:
                found["connect_port"] = int(pieces[3])
            return found
    return {}


def _pieces(rule: str) -> list[str]:
    piece = r"(\[[^]]*\]|[^:]*)"
    found = re.fullmatch(rf"{piece}:(\d*):{piece}:(\d*)", rule)
    if found is None:
        raise click.UsageError(f"--connect-to {rule!r}: write HOST:PORT:HOST:PORT")
    return [text.strip("[]") for text in found.groups()]
