"""The engine that keeps entries in one directory: an index in SQLite, and large values as files."""
