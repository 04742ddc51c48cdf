#!/bin/sh
# Fetches the libraries whose own test suites are run with our classes, and what their tests need.
#
# usage: setup.sh DIRECTORY     (60 MB; PyPI is asked for packages)
set -eu

directory=${1:?usage: setup.sh DIRECTORY}
root=$(cd "$(dirname "$0")/../../.." && pwd)
python=${PYTHON:-python3}

if [ -e "$directory/made" ]; then
    echo "the suites are there already"
    exit 0
fi
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
"$python" -m venv "$directory/venv"
pip="$directory/venv/bin/python -m pip --disable-pip-version-check"
# The versions with which the libraries' authors ran their tests, as far as they matter.
$pip install --quiet --editable "$root" \
    requests==2.34.2 'httpx[http2,socks,brotli,zstd,cli]==0.28.1' httpie==3.2.4 'click<8.2' \
    pytest==8.3.4 pytest-timeout pytest-mock PySocks trustme cryptography pytest-httpbin==2.1.0 \
    httpbin==0.10.4 chardet==5.2.0 trio==0.27.0 uvicorn responses \
    werkzeug
cd "$directory"
for suite in requests==2.34.2 httpx==0.28.1 httpie==3.2.4; do
    $pip download --quiet --no-deps --no-binary :all: --dest sources "$suite"
done
for archive in sources/*.tar.gz; do
    tar xzf "$archive"
done
touch made
