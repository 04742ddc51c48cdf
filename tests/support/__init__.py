"""What the end-to-end tests share: a scripted origin, a daemon process, a ZHTTP worker."""

from tests.support.certs import CertificateAuthority
from tests.support.daemon import DEBIAN_ZURL, Daemon, free_port
from tests.support.deadline import DEADLINE, ask_until_in_time, ask_when_gone, wait_until
from tests.support.messages import Message, decode, encode
from tests.support.origin import Connection, Request, ScriptedOrigin, reply
from tests.support.paths import ROOT
from tests.support.worker import Session, Worker

__all__ = [
    "DEADLINE",
    "DEBIAN_ZURL",
    "ROOT",
    "CertificateAuthority",
    "Connection",
    "Daemon",
    "Message",
    "Request",
    "ScriptedOrigin",
    "Session",
    "Worker",
    "ask_until_in_time",
    "ask_when_gone",
    "decode",
    "encode",
    "free_port",
    "reply",
    "wait_until",
]
