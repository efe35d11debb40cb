"""Main plugins: each makes the interface of a container."""
