"""The daemon beside its peers: CPU time per request, in one run on one machine.

``python -m benchmarks`` runs all cases and writes docs/benchmarks.md; ``--quick`` is a smoke run.
"""
