"""HTTP without I/O: the grammar of fields, which of a worker's go out, how a head is read."""
