"""Takes precedence over the community hook, which collects every submodule of pydantic."""

hiddenimports: list[str] = []
