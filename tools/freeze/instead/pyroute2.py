"""pyroute2's own imports every protocol it has, 300 ms; we name the submodules that we need."""
