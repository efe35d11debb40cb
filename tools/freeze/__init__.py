"""What build.spec freezes the suite with."""
