"""What URL parsing and policy cost per request: python -m benchmarks.policy_cost."""

import timeit
from collections.abc import Callable

from zurl_py.policy import Policy
from zurl_py.url import parse

_RUNS, _REPEATS = 20_000, 5


def measure(what: str, call: Callable[[], object]) -> float:
    """Prints and returns the microseconds that a call takes, the least of several runs."""
    seconds = min(timeit.repeat(call, number=_RUNS, repeat=_REPEATS)) / _RUNS
    print(f"{what:55}{1e6 * seconds:6.2f} µs")
    return 1e6 * seconds


def main() -> None:
    """Measures the parts, and what one request on a kept connection pays."""
    shipped = Policy.from_rules("allow", [], ["@private"], deny_always=["@metadata"])
    full = Policy.from_rules(
        "allow",
        ["hooks.example:8080", "wiki.example->10.1.0.0/16"],
        ["@private", *(f"*.n{number}.example" for number in range(10_000))],
        deny_always=["@metadata"],
        allow_ports=[(80, 80), (443, 443)],
    )
    uri = b"https://api.example.com/v1/items/42?fields=a,b&page=2"
    parsing = measure("parse an ordinary URL", lambda: parse(uri))
    measure("parse one with escapes", lambda: parse(uri + b"%20%41"))
    measure("parse one of a host in capitals", lambda: parse(b"https://API.example.com:443/x"))
    for name, policy in (("shipped", shipped), ("10,000 rules", full)):
        by_name = measure(
            f"name, known ({name})", lambda p=policy: p.check_name("api.example.com", 443, "https")
        )
        by_address = measure(
            f"address, known ({name})",
            lambda p=policy: p.check_address("93.184.215.14", 443, "https", "api.example.com"),
        )
        measure(
            f"name, new ({name})", lambda p=policy: p._decide_name("api.example.com", 443, "https")
        )
        measure(
            f"address, new ({name})",
            lambda p=policy: p._decide_address("93.184.215.14", 443, "https", "api.example.com"),
        )
        print(f"{f'a request on a kept connection ({name})':55}{by_name + by_address:6.2f} µs")
    print(f"{'of that, with the URL':55}{parsing + by_name + by_address:6.2f} µs")


if __name__ == "__main__":
    main()
