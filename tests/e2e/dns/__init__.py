"""Names whose servers are silent, late or change their minds: in a network namespace of its own."""
