"""What every database can keep, asked before it is tried.

JSON and YAML have texts that Postgres refuses: the character NUL, and half a surrogate pair, which is no text at all in
UTF-8. JSON as Python reads it has NaN and infinities, which JSON has not. SQLite keeps some of them, so that a test
would not notice.

Source: https://www.postgresql.org/docs/current/datatype-json.html
"""

from math import isfinite

NUL = "\0"


def why_not_storable(value: object) -> str:
    """Return what no database keeps in a document of dicts, lists and scalars, for people; "" where all is well."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                if NUL in text:
                    return "the character NUL cannot be kept"
                if not _is_text(text):
                    return "half a surrogate pair is no text"
            case float() as number:
                if not isfinite(number):
                    return "NaN and infinity are no numbers in JSON"
            case dict() as members:
                waiting += [*members.keys(), *members.values()]
            case list() | tuple() as items:
                waiting += items
    return ""


def storable(text: str) -> str:
    """Return a text without what no database keeps, for what nobody can be asked to write again."""
    return text.replace(NUL, "").encode("utf-8", "replace").decode()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
