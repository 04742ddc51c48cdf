"""Exchanges, by topic. Each module registers its own when it is imported."""
