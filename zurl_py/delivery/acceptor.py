"""Reads workers' messages, and answers each: deliveries after their commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..client.webhooks import new_id
from ..log import Log
from ..zhttp import Format
from .counts import Counts
from .digest import digest_of
from .endpoints import name_of_uri
from .messages import (
    NO_USER_DATA,
    BadQuestion,
    Deliver,
    Question,
    QuestionError,
    Stats,
    encode,
    encode_accepted,
    parse,
)
from .model import Accepted, NewDelivery
from .scheduler import Scheduler
from .store.base import QueryResult, StoreFull, StoreUnavailable
from .store.thread import StoreThread

__all__ = ["Acceptor", "Asker"]

_MAX_WAITING: Final = 4096  # messages that may wait for their commit
_MAX_WAITING_BYTES: Final = 64 << 20  # bytes of their bodies

Send = Callable[[list[bytes]], None]


@dataclass(slots=True)
class Asker:
    """The sender of a question, for the answer.

    Attributes:
        envelope: frames to send before the answer; None: no answer is expected.
    """

    envelope: list[bytes] | None
    format: Format = Format.JSON
    user_data: Any = NO_USER_DATA


class Acceptor:
    """Reads questions, collects deliveries for the next commit, and answers.

    Args:
        send: sends an answer with its envelope.
        on_result: called with the result of each query, which may have changed endpoints.

    Attributes:
        max_body: bytes of a message's body.
        waiting: number of messages that wait for their commit.
    """

    def __init__(
        self,
        thread: StoreThread,
        scheduler: Scheduler,
        log: Log,
        counts: Counts,
        max_body: int,
        send: Send,
        on_result: Callable[[QueryResult], None],
    ) -> None:
        self._thread = thread
        self._scheduler = scheduler
        self._log = log
        self._counts = counts
        self._send = send
        self._on_result = on_result
        self.max_body = max_body
        self.waiting = 0
        self._waiting_bytes = 0
        self._queries = 0
        self._batch: list[NewDelivery] = []

    @property
    def has_room(self) -> bool:
        """Whether more questions may be read."""
        return (
            self.waiting + self._queries < _MAX_WAITING and self._waiting_bytes < _MAX_WAITING_BYTES
        )

    @property
    def idle(self) -> bool:
        """Whether no answer is owed."""
        return not self.waiting and not self._queries

    # -- questions -----------------------------------------------------------------------------

    def take_question(self, frames: list[bytes]) -> None:
        """Handle a message of the ROUTER: identity, an empty frame, the packet."""
        try:
            envelope = frames[: frames.index(b"", 1) + 1]
        except ValueError:  # a DEALER that sent no empty frame gets none in its answer
            envelope = frames[:1]
        asker = Asker(envelope)
        if len(frames) != len(envelope) + 1:
            reason = (
                f"a message must be an empty frame and one packet, and has {len(frames) - 1} frames"
            )
            self._fail(asker, BadQuestion("bad-message", reason))
            return
        self._take(asker, frames[-1])

    def take_pushed(self, frames: list[bytes]) -> None:
        """Handle a message of the PULL: the packet alone; there is no answer."""
        self._take(Asker(None), frames[-1])

    def _take(self, asker: Asker, message: bytes) -> None:
        try:
            question = parse(message, self.max_body)
        except BadQuestion as bad:
            asker.format, asker.user_data = bad.format, bad.user_data
            self._fail(asker, bad, bad.id)
            return
        asker.format, asker.user_data = question.format, question.user_data
        if type(question) is Deliver:
            self.accept(question, asker)
        else:
            self._queries += 1
            self.flush()  # earlier deliveries are to be in the store
            self._thread.query(question, lambda result: self._answer(asker, question, result))

    def accept(self, message: Deliver, asker: Asker) -> None:
        """Add a delivery to the next batch."""
        now = time.time()
        name = message.endpoint or name_of_uri(message.uri)
        lane = self._scheduler.lane_of(name)
        new = NewDelivery(
            asker,
            message.id or new_id(),
            message.endpoint,
            message.uri,
            message.body,
            digest_of(message),
            now,
            message.event,
            message.headers,
            message.key,
            None if message.expires is None else now + message.expires,
            message.not_before or 0.0,
            message.secrets,
            self._scheduler.may_lease(lane, now, self._waiting_bytes),
            lane is not None,
        )
        self._batch.append(new)
        self.waiting += 1
        self._waiting_bytes += len(message.body)

    def flush(self) -> None:
        """Give the batch to the store."""
        if self._batch:
            self._thread.accept(self._batch)
            self._batch = []

    # -- answers -------------------------------------------------------------------------------

    def accepted(self, batch: list[NewDelivery], results: list[Accepted]) -> None:
        """Answer the messages of a batch that was committed."""
        info_on = self._log.info_on
        self._waiting_bytes -= sum(len(new.body) for new in batch)
        for result in results:
            asker: Asker = result.token
            self.waiting -= 1
            if result.error is not None:
                condition, detail = result.error
                self._fail(asker, QuestionError(condition, condition, detail), result.id)
                continue
            if result.duplicate:
                self._counts.duplicates += 1
            else:
                self._counts.accepted += 1
            if info_on:
                again = " again" if result.duplicate else ""
                self._log.info(f"webhook {result.id}: accepted{again}")
            if asker.envelope is None:
                continue
            if asker.user_data is NO_USER_DATA:
                answer = encode_accepted(asker.format, result.id, result.duplicate)
                self._send([*asker.envelope, answer])
            else:
                shown = {"type": "accepted", "id": result.id, "duplicate": result.duplicate}
                self._reply(asker, shown)

    def not_accepted(self, batch: list[NewDelivery], error: Exception) -> None:
        """Answer the messages of a batch that was not written with an error."""
        self._waiting_bytes -= sum(len(new.body) for new in batch)
        for new in batch:
            self.waiting -= 1
            self._fail(new.token, _failure_of(error), new.id)

    def _answer(self, asker: Asker, question: Question, result: QueryResult | Exception) -> None:
        self._queries -= 1
        if isinstance(result, Exception):
            self._fail(asker, _failure_of(result), getattr(question, "id", None) or None)
            return
        self._on_result(result)
        if type(question) is Stats:
            self.complete_stats(result.answer)
        if asker.envelope is not None:
            self._reply(asker, {"type": "ok", **result.answer})

    def complete_stats(self, answer: dict[str, Any]) -> None:
        """Add what the store does not know: attempts in flight, and rates."""
        states = answer["states"]
        leased = len(self._scheduler.flights)
        states["leased"] = leased
        states["pending"] = max(0, states["pending"] - leased)
        answer["rates"] = self._counts.rates(time.time())

    def _fail(self, asker: Asker, failure: QuestionError, id: str | None = None) -> None:
        condition = failure.condition
        self._counts.refused[condition] = self._counts.refused.get(condition, 0) + 1
        if asker.envelope is None:
            self._log.warning(f"pushed message {id or ''} refused, {condition}: {failure.detail}")
            return
        if self._log.debug_on:
            self._log.debug(f"question refused, {condition}: {failure.detail}")
        answer: dict[str, Any] = {
            "type": "error",
            "condition": condition,
            "ext": {"error": failure.error, "detail": failure.detail},
        }
        if id is not None:
            answer["id"] = id
        self._reply(asker, answer)

    def _reply(self, asker: Asker, answer: dict[str, Any]) -> None:
        assert asker.envelope is not None
        self._send([*asker.envelope, encode(asker.format, answer, asker.user_data)])


def _failure_of(error: Exception) -> QuestionError:
    if isinstance(error, QuestionError):
        return error
    if isinstance(error, StoreFull):
        return QuestionError("store-full", "store-full", str(error))
    assert isinstance(error, StoreUnavailable)
    return QuestionError("unavailable", "store-unavailable", str(error))
