#!/bin/sh
# Run the tests, with coverage. Arguments go to pytest.
#
# A few tests depend on time: a machine that stands still for a second fails them. So tests that fail
# beside others, five at most, are run once more, one after the other. What passes then is named, as
# it is worth a look; what fails twice fails the run.
set -u
python=${PYTHON:-python3}
few=5
export COVERAGE_PROCESS_START=pyproject.toml

"$python" -m coverage run -m pytest "$@"
status=$?
[ "$status" -eq 1 ] || exit "$status" # 1: tests failed; others: interrupted, wrong use, no tests

failed=$("$python" - <<'END'
import json
from pathlib import Path

for test in json.loads(Path(".pytest_cache/v/cache/lastfailed").read_text()):
    print(test)
END
) || exit 1
count=$(printf '%s\n' "$failed" | wc -l)
if [ "$count" -gt "$few" ]; then
    echo "$count tests failed: too many to run them again" >&2
    exit 1
fi
"$python" -m coverage run -m pytest --last-failed --last-failed-no-failures none || exit 1
echo "These failed beside other tests and passed by themselves:"
printf '%s\n' "$failed"
