"""The demo: two containers on nerdctl's default network, in a throw-away host."""
