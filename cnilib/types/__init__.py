"""Configuration and result types, and how they look in each CNI version."""
