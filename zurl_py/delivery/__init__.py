"""Durable webhooks: ``zurl-py deliver``, a process beside the gateway and a client of it.

What was acknowledged is in a store on disk and is sent again and again until the receiver takes
it, or its schedule is used up. The rooms, from pure to impure: ``messages`` (questions, checked),
``attempts`` and ``lane`` (what becomes of a delivery and its endpoint), ``scheduler`` (whose turn
it is), ``store`` (six batched verbs, in a thread of their own), ``gateway`` (the way out) and
``service``, which ties them to one loop.
"""
