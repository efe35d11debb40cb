"""Verbs on the kernel, one noun a module; the only package that imports pyroute2."""
