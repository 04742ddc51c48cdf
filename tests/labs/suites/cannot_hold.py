"""Which tests of the suites cannot hold with a gateway, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CANNOT_HOLD", "SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """A suite, as setup.sh unpacks it.

    Attributes:
        apart: its files are run one by one: they change what others rely on.
    """

    directory: str
    apart: bool = False


SUITES: Final = {
    "requests": Suite("requests-2.34.2"),
    "httpx": Suite("httpx-0.28.1"),
    "httpie": Suite("httpie-3.2.4", apart=True),
}

_PROXY = "proxies are the gateway's, those of a program are not used"
_POOL = "it looks into the connection pool, which is the gateway's"
_STORE = "which certificates are accepted is the gateway's setting, a path is not looked at"
_LIBCURL = "the gateway refuses the answer by another name than http.client's"

_REQUESTS = {
    "tests/test_lowlevel.py::test_chunked_encoding_error": (
        "the head breaks off, which http.client overlooks and the gateway does not"
    ),
    "tests/test_lowlevel.py::test_conflicting_content_lengths": _LIBCURL,
    "tests/test_lowlevel.py::test_use_proxy_from_environment": _PROXY,
    "tests/test_requests.py::TestRequests::test_proxy_error": _PROXY,
    "tests/test_requests.py::TestRequests::test_proxy_error_on_bad_url": _PROXY,
    "tests/test_requests.py::TestRequests::test_respect_proxy_env_on_send_self_prepared_request": (
        _PROXY
    ),
    "tests/test_requests.py::TestRequests::"
    "test_respect_proxy_env_on_send_session_prepared_request": _PROXY,
    "tests/test_requests.py::TestRequests::test_respect_proxy_env_on_send_with_redirects": _PROXY,
    "tests/test_requests.py::TestRequests::test_respect_proxy_env_on_get": _PROXY,
    "tests/test_requests.py::TestRequests::test_respect_proxy_env_on_request": _PROXY,
    "tests/test_requests.py::TestRequests::test_invalid_ca_certificate_path": _STORE,
    "tests/test_requests.py::TestRequests::test_certificate_failure": _STORE,
    "tests/test_requests.py::TestPreparingURLs::"
    "test_different_connection_pool_for_tls_settings_verify_True": _POOL,
    "tests/test_requests.py::TestPreparingURLs::"
    "test_different_connection_pool_for_tls_settings_verify_bundle_expired_cert": _POOL,
    "tests/test_requests.py::TestPreparingURLs::"
    "test_different_connection_pool_for_tls_settings_verify_bundle_unexpired_cert": _STORE,
}

_TRACE = "it shows events of connections, which are the gateway's"

_HTTPX = {
    "tests/client/test_proxies.py::test_socks_proxy": _PROXY,
    "tests/client/test_proxies.py::test_async_proxy_close": _PROXY,
    "tests/client/test_proxies.py::test_sync_proxy_close": _PROXY,
    "tests/client/test_proxies.py::test_proxies_environ": _POOL,
    "tests/test_api.py::test_httpcore_lazy_loading": "httpcore is not used",
    "tests/test_exceptions.py::test_httpcore_exception_mapping": "httpcore is not used",
    "tests/test_timeouts.py::test_pool_timeout": "limits on connections are the gateway's",
    "tests/test_main.py::test_verbose": _TRACE,
    "tests/test_main.py::test_auth": _TRACE,
}

_ACCEPT = "the gateway sends Accept where there is none, as Zurl does"
_CHARSET = "later versions of charset-normalizer guess otherwise, without a gateway, too"

_HTTPIE = {
    "tests/test_config.py::test_config_file_inaccessible": "root can read every file",
    "tests/test_encoding.py::test_terminal_output_response_charset_detection[big5": _CHARSET,
    "tests/test_encoding.py::test_terminal_output_request_charset_detection[big5": _CHARSET,
    "tests/test_errors.py::test_max_headers_limit": "it changes a limit of http.client",
    "tests/test_json.py::test_nested_json_syntax[input_json17": (
        "the gateway refuses a header whose name is no token"
    ),
    "tests/test_output.py::TestQuietFlag::test_double_quiet_on_error": (
        "it looks for socket.gaierror behind the exception"
    ),
    "tests/test_plugins_cli.py": "it fetches packages from PyPI",
    "tests/test_update_warnings.py": "it asks the internet for later versions",
    "tests/test_uploads.py::test_stdin_read_warning": "its time is too short for a busy machine",
    "tests/test_ssl.py::test_ciphers_none_can_be_selected": _STORE,
    "tests/test_ssl.py::test_password_protected_cert": "keys with a pass phrase are not taken",
    "tests/test_ssl.py::TestServerCert::test_self_signed_server_cert_by_default_raises": _STORE,
    "tests/test_ssl.py::TestServerCert::test_verify_custom_ca_bundle_invalid": _STORE,
    "tests/test_httpie.py::test_headers_omit": _ACCEPT,
    "tests/test_httpie.py::test_headers_unset": _ACCEPT,
}

CANNOT_HOLD: Final[dict[str, dict[str, str]]] = {
    "requests": _REQUESTS,
    "httpx": _HTTPX,
    "httpie": _HTTPIE,
}
"""By suite: how the names of tests begin, and the reason."""
