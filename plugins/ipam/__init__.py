"""IPAM plugins: they hand out addresses and touch no link."""
