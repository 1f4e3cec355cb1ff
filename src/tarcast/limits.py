"""Numbers that the library and the command share; importing them costs nothing."""

# Bytes of archive held in memory unless asked otherwise, and the least that may be asked for.
MEMORY_LIMIT = 32 << 20
LEAST_MEMORY_LIMIT = 1 << 20
# More than this is the same: no machine has it.
MOST_MEMORY = 1 << 40
