"""When somebody wants to be called again, read from what a language model or a script writes. Pure.

Understood are, in English and Spanish: a date with a time (`2026-11-26 10:30`, `2026-11-26T10:30`, with an offset where
there is one), a time of day (`17:00`: the next one), the same tomorrow (`tomorrow 10:00`, `mañana 10:00`), and a
distance (`in 20 minutes`, `en 2 horas`). Anything else is refused, so that the model asks again.
"""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from voice_agent.errors import InvalidRequest

FURTHEST = timedelta(days=90)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[t ]\d{1,2}:\d{2}(?::\d{2})?(?: ?(?:z|[+-]\d{2}:?\d{2}))?")
_TIME = re.compile(
    r"(?P<day>tomorrow |manana |mañana |today |hoy )?(?:at |a las |a la )?(?P<hour>\d{1,2}):(?P<minute>\d{2})"
)
_DISTANCE = re.compile(r"(?:in|en|dentro de) (?P<count>\d{1,4}) ?(?P<unit>minut\w*|min|hours?|horas?|h|days?|d[ií]as?)")
_TOMORROW = ("tomorrow ", "manana ", "mañana ")

FORMS = "2026-11-26 10:30, 17:00, tomorrow 10:00, or in 2 hours"
"""What is understood, for people and models."""


def callback_time(text: str, now: datetime, zone: str) -> datetime:
    """Return the moment that `text` means for somebody in an IANA `zone`, in the zone of `now`.

    Raises InvalidRequest for what is not understood, is over already, or lies more than 90 days ahead.
    """
    written = " ".join(text.lower().split())
    moment = _read(written, now, ZoneInfo(zone))
    if moment is None:
        raise InvalidRequest(f"{text[:60]!r} is no time: write it as {FORMS}")
    moment = moment.astimezone(now.tzinfo)
    if not now < moment <= now + FURTHEST:
        raise InvalidRequest(f"{text[:60]!r} is not within the next {FURTHEST.days} days")
    return moment


def _read(written: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    if distance := _DISTANCE.fullmatch(written):
        count, unit = int(distance["count"]), distance["unit"][0]
        return now + timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[unit]: count})
    try:
        if _DATE.fullmatch(written):
            moment = datetime.fromisoformat(_padded(written.replace(" ", "T", 1)).upper().replace(" ", ""))
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        if time := _TIME.fullmatch(written):
            local = now.astimezone(zone)
            # Wall time: across a change of the clock "10:00" stays 10:00.
            wanted = local.replace(hour=int(time["hour"]), minute=int(time["minute"]), second=0, microsecond=0)
            is_later = time["day"] in _TOMORROW or (not time["day"] and wanted <= local)
            return wanted + timedelta(days=1) if is_later else wanted
    except ValueError:
        pass  # the 31st of April, or 27 o'clock
    return None


def _padded(written: str) -> str:
    """Return it with two digits of the hour."""
    day, _, time = written.upper().partition("T")
    return f"{day}T{time.zfill(5)}" if time.index(":") == 1 else f"{day}T{time}"
