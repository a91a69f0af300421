"""Thirty-three time zones that change their clocks in every way there is, or not at all."""

ZONES = (
    "Europe/Madrid",
    "Atlantic/Canary",
    "Africa/Ceuta",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Bucharest",
    "Atlantic/Azores",  # at midnight in one direction
    "Africa/Casablanca",  # for Ramadan
    "Africa/Cairo",  # at midnight
    "Asia/Beirut",  # at midnight
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Auckland",
    "Pacific/Chatham",  # at 02:45
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Honolulu",
    "America/Adak",
    "America/Los_Angeles",
    "America/Phoenix",
    "America/Tijuana",
    "America/Mexico_City",
    "America/New_York",
    "America/Havana",  # at midnight
    "America/St_Johns",
    "America/Santiago",  # at midnight
    "America/Nuuk",
    "America/Sao_Paulo",
)
