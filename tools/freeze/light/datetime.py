"""pydantic's core asks for the compiled types; the real module has them in Python first."""

from _datetime import (
    MAXYEAR,
    MINYEAR,
    UTC,
    date,
    datetime,
    datetime_CAPI,
    time,
    timedelta,
    timezone,
    tzinfo,
)

__all__ = [
    "MAXYEAR",
    "MINYEAR",
    "UTC",
    "date",
    "datetime",
    "datetime_CAPI",
    "time",
    "timedelta",
    "timezone",
    "tzinfo",
]
