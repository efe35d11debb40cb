"""The prepared schemas know the JSON names already."""

to_camel = None
