"""Durable webhooks: ``zurl-py deliver``, a process beside the gateway and a client of it.

A delivery that was acknowledged is in a store on disk, and is sent again and again until the
receiver accepts it, or its schedule is used up. The modules without I/O are ``messages`` (parsing
of questions), ``attempts`` and ``lane`` (rules for a delivery and its endpoint) and ``scheduler``
(which attempt is next). ``store`` has six batched verbs, which run in a thread of their own,
``gateway`` sends attempts, and ``service`` runs all of them on one loop.
"""
