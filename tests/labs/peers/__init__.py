"""Real programs that used Zurl, with our daemon in its place."""
