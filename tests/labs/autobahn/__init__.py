"""Autobahn's WebSocket test suite, with the gateway as the client under test."""
