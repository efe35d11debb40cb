"""Meta plugins: they refine what the plugins before them in the chain made."""
