"""Tests of zurl_py; what they share is in `tests.support`."""
