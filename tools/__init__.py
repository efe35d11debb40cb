"""Building, installing and showing the suite; nothing here is shipped."""
