"""Attempts to make a daemon connect to where it must not, inside a network that leads nowhere.

A network namespace has nothing but a loopback interface, to which every address there is belongs.
Whatever a daemon connects to, public or private, a listener of ours accepts and writes down. No
packet can leave.

    python -m tests.labs.ssrf.show ours,zurl 'redirect-*'      # what both do with some attempts
    python -m tests.labs.ssrf.document                         # the table of docs/security.md
"""
