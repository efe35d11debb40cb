"""What is ours in nftables, and the other backends; the only package that imports nftables."""
