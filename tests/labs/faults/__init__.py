"""A laboratory of faults: an origin that does everything wrong, and books of what came of it.

Each fault is a path of one origin: `/reset/37` resets the connection behind byte 37 of the answer.
The laboratory asks for many of them at once, by both interfaces, whole and streamed and with
uploads, and keeps books: each request that was accepted has exactly one final answer, in time;
meanwhile the gateway answers others, and afterwards it holds no more than before.

    python -m tests.labs.faults ours          # or zurl, Debian's
    python -m tests.labs.faults ours --seconds 600 --seed 7
"""
