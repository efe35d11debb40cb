"""pyroute2's messages and asyncio import it for what they log; the real module costs 1 ms."""


def format_exc() -> str:
    """Nothing: the error itself is raised, or logged beside it."""
    return ""


def format_stack() -> list[str]:
    """Nothing."""
    return []


extract_stack = format_stack  # asyncio's compiled part looks it up, for its debug mode
