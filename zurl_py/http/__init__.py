"""HTTP without I/O: the grammar of fields, what of a worker's goes out, how a head is read."""
