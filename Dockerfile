# zurl-py in a container: no compiler, no shell in use, not root.
#
#     docker build --tag zurl-py .
#
# The wheels and their hashes are those of the Debian package. The Python of the image is the one
# that the wheels were chosen for.

FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY debian/requirements.txt .
RUN python -m pip install --no-cache-dir --no-compile --no-deps --require-hashes \
        --requirement requirements.txt --target /opt/zurl-py
COPY zurl_py /opt/zurl-py/zurl_py
RUN python -m compileall -q /opt/zurl-py

FROM python:3.13-slim-trixie
RUN groupadd --system --gid 990 zurl \
    && useradd --system --uid 990 --gid zurl --no-create-home --shell /usr/sbin/nologin zurl \
    && install -d -o zurl -g zurl -m 755 /run/zurl
COPY --from=build /opt/zurl-py /opt/zurl-py
COPY zurl.conf.example /etc/zurl.conf
ENV PYTHONPATH=/opt/zurl-py PYTHONSAFEPATH=1
USER zurl:zurl
VOLUME /run/zurl
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s \
    CMD ["python", "-c", "import os, sys; sys.exit(not os.path.exists('/run/zurl/zurl-req'))"]
ENTRYPOINT ["python", "-m", "zurl_py"]
CMD ["serve", "--config", "/etc/zurl.conf"]
