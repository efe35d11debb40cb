"""pyroute2's configuration takes these names from it, for features that we do not use."""

Pipe = Process = Queue = None
