"""Deliveries while everything around them is killed; a checker that sees two logs and no more.

python -m tests.labs.killing --messages 100000 --kills 1000 --store sqlite
"""
