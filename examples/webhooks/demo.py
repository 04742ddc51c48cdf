"""Durable webhooks in half a minute: accept, a receiver that fails, a kill -9, the retry, a
verified signature, a dead letter, a replay.

    make demo-webhooks
"""

import contextlib
import http.server
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from zurl_py.client import Webhooks
from zurl_py.client.webhooks import verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers what `status` says, and checks signatures as a receiver should."""

    protocol_version = "HTTP/1.1"
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        webhook = verify(body, dict(self.headers.items()), SECRET)
        print(f"  receiver: {webhook.event} {webhook.id}, signature good, answers {self.status}")
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "zurl_py", *arguments], stderr=subprocess.DEVNULL
    )


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        if time.monotonic() > end:
            raise SystemExit("demo: what it waits for did not happen in time; see the logs above")
        time.sleep(0.05)


def main() -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zurl-demo-")))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}/hook"
        gateway_conf, deliver_conf = folder / "zurl.conf", folder / "deliver.conf"
        gateway_conf.write_text(f"[General]\nin_req_spec=ipc://{folder}/req\ndefpolicy=allow\n")
        deliver_conf.write_text(
            f"[General]\ndeliver_spec=ipc://{folder}/deliver\ngateway={gateway_conf}\n"
            f"store=sqlite:///{folder}/store.db\n"
        )
        gateway = start("serve", "--config", str(gateway_conf))
        stack.callback(gateway.terminate)
        deliver = start("deliver", "--config", str(deliver_conf))
        webhooks = stack.enter_context(Webhooks(deliver_conf))
        webhooks.put_endpoint("shop", uri, secrets=[SECRET], schedule=[0, 2, 2])

        print("1. A webhook is accepted: it is on disk when send() returns.")
        Receiver.status = 500
        sent = webhooks.send("shop", {"order": 17}, event="order.paid")
        wait_for(lambda: bool(webhooks.get_delivery(sent.id)["attempts"]))

        print("2. The receiver failed. Now zurl-py deliver is killed with -9, and comes back.")
        deliver.send_signal(signal.SIGKILL)
        deliver.wait()
        Receiver.status = 200
        deliver = start("deliver", "--config", str(deliver_conf))
        stack.callback(lambda: (deliver.terminate(), deliver.wait()))
        wait_for(lambda: webhooks.get_delivery(sent.id)["state"] == "done")
        again = webhooks.send("shop", {"order": 17}, event="order.paid", id=sent.id)
        print(f"3. The retry got through. Sent again by its sender: duplicate={again.duplicate}")

        print("4. A receiver that never takes it: a dead letter.")
        Receiver.status = 500
        lost = webhooks.send("shop", {"order": 18}, event="order.paid")
        wait_for(lambda: webhooks.get_delivery(lost.id)["state"] == "dead")
        for attempt in webhooks.get_delivery(lost.id)["attempts"]:
            print(f"  attempt: {attempt['code']}, {attempt['phases']['total'] / 1000:.0f} ms")

        print("5. The receiver is mended, and the dead letter is sent again.")
        Receiver.status = 200
        webhooks.replay(endpoint="shop", state="dead")
        wait_for(lambda: webhooks.get_delivery(lost.id)["state"] == "done")
        print(f"6. Nothing is left: {webhooks.stats()['states']}")


if __name__ == "__main__":
    main()
