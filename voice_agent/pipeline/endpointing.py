"""How long to wait after the caller's last word before the turn is the agent's: it depends on what was said.

`ending_of` reads the transcript's last words and says in which way they end; the settings give each way its wait.
Word lists and patterns for English and Spanish stand here and nowhere else. The waits are counted from the last
speech sample, so they run beside the detector's own delay and the recogniser's, never after them.

It hears no intonation and it does not ask a model: a wrong guess costs some tenths of a second, and the speculation
that starts at the first pause hides most of every wait. Whether a backchannel matters is the turn machine's business.
"""

import re
import unicodedata
from enum import Enum

import msgspec


class EndpointingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the caller's last speech sample to the end of the turn, by the way the words end.

    Two other systems, in seconds. livekit-agents (turn handling options): 0.5 at least and 3.0 at most, the longer
    one where its model expects more. Vapi (TranscriptionEndpointingPlan): 0.1 after punctuation, 1.5 without, 0.4
    after a number, and never an answer in less than 0.4. Where no source is named, a number was chosen between theirs.
    """

    finished_s: float = 0.2
    """A finished sentence, a question, or a short answer. Not below the voice activity detector's own delay."""

    neutral_s: float = 0.45
    """Nothing tells. Speakers leave each other 0.2 s on average (Stivers et al., PNAS 2009), and pause for longer
    within a turn."""

    unfinished_s: float = 1.2
    """"And", "um", "my name is": the caller is thinking, and expects to be let."""

    dictating_s: float = 1.0
    """Within a number, an e-mail address or a spelled word: people pause between groups."""

    dictated_s: float = 0.6
    """The number or address looks complete, but another group may follow."""

    interim_s: float = 0.1
    """Added where the transcript is an interim one: the last word may be missing, interims lag by about 0.15 s."""

    shortest_s: float = 0.2
    longest_s: float = 1.5
    """Bounds of every wait, whatever the numbers above are set to."""


PROFILES = {
    "patient": EndpointingSettings(
        finished_s=0.45, neutral_s=0.8, unfinished_s=2.0, dictating_s=1.8, dictated_s=1.0, longest_s=2.5
    ),
    "normal": EndpointingSettings(),
    "quick": EndpointingSettings(
        neutral_s=0.35, unfinished_s=0.9, dictating_s=0.8, dictated_s=0.45, interim_s=0.05, longest_s=1.0
    ),
}
"""By an agent's `profile`: patient for older callers and long dictation, quick for short routine questions."""


class Ending(Enum):
    """The way in which what was said ends."""

    WORDLESS = "wordless"
    FINISHED = "finished"
    NEUTRAL = "neutral"
    UNFINISHED = "unfinished"
    DICTATING = "dictating"
    DICTATED = "dictated"


def endpoint_wait_s(text: str, language: str, settings: EndpointingSettings, *, is_final: bool) -> float:
    """Return the seconds to wait after the last speech sample, given the transcript so far.

    `language` is ISO 639-1; any but "es" is taken for English.
    """
    waits = {
        Ending.WORDLESS: settings.neutral_s,
        Ending.FINISHED: settings.finished_s,
        Ending.NEUTRAL: settings.neutral_s,
        Ending.UNFINISHED: settings.unfinished_s,
        Ending.DICTATING: settings.dictating_s,
        Ending.DICTATED: settings.dictated_s,
    }
    wait_s = waits[ending_of(text, language)] + (0.0 if is_final else settings.interim_s)
    return min(max(wait_s, settings.shortest_s), settings.longest_s)


def ending_of(text: str, language: str) -> Ending:
    """Return the way in which `text` ends: the first rule that applies, from the most to the least specific."""
    words = tuple(normalised(text).split())
    if not words:
        return Ending.WORDLESS
    lexicon = _LEXICONS.get(language, _LEXICONS["en"])
    spoken = _without_sounds(text).rstrip("\"'”’»)] ")
    if spoken.endswith("?"):
        return Ending.FINISHED
    dictation = _dictation(spoken, words, lexicon)
    if dictation is not None:
        return dictation
    if " ".join(words) in lexicon.answers:
        return Ending.UNFINISHED if spoken.endswith(_TRAILING_OFF) else Ending.FINISHED
    if spoken.endswith(_TRAILING_OFF) or _is_left_open(words, lexicon, is_stopped=spoken.endswith((".", "!"))):
        return Ending.UNFINISHED
    return Ending.FINISHED if spoken.endswith((".", "!")) or _is_name(spoken, words) else Ending.NEUTRAL


def is_backchannel(text: str, language: str, *, is_interim: bool = False) -> bool:
    """Tell whether `text` is nothing but "mhm", "okay", "ya" and the like: I am listening, go on.

    Never so for a "no", a question ("okay?") or anything that says more; never for an empty text. The last words of
    an interim transcript may be the beginning of one: "I", of "I see".
    """
    lexicon = _LEXICONS.get(language, _LEXICONS["en"])
    words = tuple(normalised(text).split())
    if not words or "?" in text:
        return False
    ends = _cuts(words, lexicon.backchannels)
    if len(words) in ends:
        return True
    return is_interim and any(_begins_one(words[end:], lexicon.backchannels) for end in ends)


def is_salutation(text: str, language: str) -> bool:
    """Tell whether `text` is nothing but what people say who pick up a telephone: "hello?", "yes?", "diga"."""
    lexicon = _LEXICONS.get(language, _LEXICONS["en"])
    words = tuple(normalised(text).split())
    return bool(words) and len(words) in _cuts(words, lexicon.salutations)


def has_words(text: str) -> bool:
    """Tell whether there is a word in `text`: punctuation and the recogniser's notes, "(coughs)", are none."""
    return any(map(str.isalnum, _without_sounds(text)))


def normalised(text: str) -> str:
    """Return the words alone, lower case, one space between them; accents and apostrophes within words are kept.

    Equal results mean that the same was said, however the recogniser wrote it.
    """
    composed = unicodedata.normalize("NFC", _without_sounds(text)).lower().replace("’", "'")
    return " ".join(_WORD.findall(composed))


# --- what the words say -----------------------------------------------------------------------------------------
_SOUND = re.compile(r"\([^()\d]*\)|\[[^\[\]\d]*\]")
"""A recogniser's note of a sound, such as ElevenLabs' "(laughs)"; an area code is none."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_TRAILING_OFF = (",", ";", ":", "…", "...", "-", "—", "–")
_NUMERAL = re.compile(r"[+(]*\d[\d().]*\Z")
_HALF_DAY = re.compile(r"\b[ap]\. ?m\.?\Z", re.IGNORECASE)
_JOINING = ("ty", "nta")
"""Endings of the tens that take a one: "forty five", "cuarenta y cinco"."""

_ADDRESS = re.compile(r"\S+@(\S*)\Z")
_DOMAIN = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\.?\Z")
_TOP_LEVEL_DOMAINS = frozenset(
    {"com", "org", "net", "edu", "gov", "es", "mx", "ar", "co", "cl", "pe", "uk", "eu", "io"}
)

COMPLETE_DIGITS = {
    # NANP numbers with and without the 1; 15 and 16 digits are payment cards (ISO/IEC 7812).
    "en": frozenset({10, 11, 15, 16}),
    # Spanish numbers with and without the 34, Mexican and Colombian ones with and without 52 or 57.
    "es": frozenset({9, 10, 11, 12, 15, 16}),
}
"""How many digits a dictated number has when it is complete."""

DICTATION_DIGITS = 4
"""From so many digits in a row it is dictation; fewer are a quantity, an hour or a floor."""


class _Lexicon(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one language."""

    answers: frozenset[str]
    """Whole utterances that need nothing more."""
    backchannels: frozenset[tuple[str, ...]]
    salutations: frozenset[tuple[str, ...]]
    """What a greeting answers."""
    open_words: frozenset[str]
    """A sentence never ends with these: something follows even where the recogniser set a full stop."""
    open_unless_stopped: frozenset[str]
    """Something follows unless the recogniser set a full stop."""
    holds: tuple[tuple[str, ...], ...]
    """Phrases after which something follows even where the recogniser set a full stop: "let me see"."""
    open_phrases: tuple[tuple[str, ...], ...]
    """The same, unless the recogniser set a full stop."""
    ones: frozenset[str]
    tens: frozenset[str]
    """Words for one digit, and those for two; a one after a ten ("thirty five") adds no digit."""
    words_of_one_letter: frozenset[str]
    number_cues: frozenset[str]
    """After one of these even few digits are the beginning of a number."""
    address_cues: frozenset[str]
    at_signs: frozenset[str]
    is_at_sign_unmistakable: bool
    """Whether the word for @ means nothing else, as "arroba"."""
    dots: frozenset[str]
    complete_digits: frozenset[int]


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split("|"))


def _phrases(words: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(phrase.split()) for phrase in words.split("|"))


_LEXICONS = {
    "en": _Lexicon(
        answers=_listed(
            "absolutely|agreed|all right|alright|bye|bye bye|correct|definitely|exactly|fine|go ahead|goodbye|good|"
            "great|hello|hi|i agree|i do|i don't|maybe|neither|never|no|no thank you|no thanks|none|nope|not at all|"
            "not really|not yet|nothing|of course|of course not|ok|okay|perfect|please|please do|right|speaking|sure|"
            "thank you|thanks|that is all|that is right|that's all|that's correct|that's it|that's right|this is he|"
            "this is she|today|tomorrow|yeah|yep|yes|yes i do|yes please|yes that's right|yup"
        ),
        backchannels=frozenset(
            _phrases(
                "mhm|mmhm|mm|mmm|mm hm|mm hmm|mhmm|hmm|hm|uh huh|uhuh|uhhuh|aha|ah|oh|okay|ok|right|yeah|yep|yup|yes|"
                "sure|i see|got it|i understand|understood|all right|alright|good|great|cool|nice|fine|perfect|"
                "of course|makes sense|that makes sense|go on|exactly|true|absolutely|i know|oh i see|wow|really"
            )
        ),
        salutations=frozenset(_phrases("hello|hi|hey|yes|speaking|good morning|good afternoon|good evening")),
        open_words=_listed(
            "a|an|the|and|but|or|because|cause|if|when|while|although|unless|um|umm|uh|uhm|er|erm|hmm|my|your|our|"
            "their|his|its|i'm|i'll|i'd|i've|we're|we'll|we'd|you're|they're|he's|she's|it's|there's|let's|than|"
            "whether|very"
        ),
        open_unless_stopped=_listed(
            "to|of|for|with|from|in|on|at|by|about|into|is|are|was|were|am|be|will|would|could|should|can|can't|have|"
            "has|had|do|does|so|like|that|this|which|who|what|where|how|until|before|after|between|through|without|i|"
            "we|he|"
            "she|they|it|not|just|also|maybe|actually|basically|well|then|as|per|around|near|some|any|every|want|need|"
            "wanna|gonna|her|dot|double|triple"
        ),
        holds=_phrases(
            "my name is|my name's|my number is|my address is|my email is|the number is|the address is|i would like|"
            "i'd like|let me see|let me think|let me check|hold on|hang on|one moment|one second|just a second|"
            "just a moment|wait|give me a second|i was wondering"
        ),
        open_phrases=_phrases("i think|i mean|i guess|you know|it is|trying to|kind of|sort of|such as|looking for"),
        ones=_listed("zero|oh|nought|one|two|three|four|five|six|seven|eight|nine|double"),
        tens=_listed(
            "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|"
            "sixty|seventy|eighty|ninety"
        ),
        words_of_one_letter=_listed("a|i|o"),
        number_cues=_listed(
            "number|phone|mobile|cell|telephone|card|account|code|zip|postcode|reference|policy|extension"
        ),
        address_cues=_listed("email|mail|e-mail"),
        at_signs=_listed("at"),
        is_at_sign_unmistakable=False,
        dots=_listed("dot|point"),
        complete_digits=COMPLETE_DIGITS["en"],
    ),
    "es": _Lexicon(
        answers=_listed(
            "adiós|adelante|ahora no|bien|bueno|buenos días|buenas tardes|buenas noches|buenas|claro|claro que no|"
            "claro que sí|cierto|correcto|así es|de acuerdo|desde luego|dígame|diga|en absoluto|eso es|eso es todo|"
            "exacto|exactamente|genial|gracias|hasta luego|hola|hoy|mañana|muchas gracias|muy bien|nada|nada más|"
            "ninguno|ninguna|no|no gracias|no por ahora|nunca|ok|okay|perfecto|por favor|por supuesto|quizás|sí|si|"
            "sí claro|sí gracias|sí por favor|sí señor|sí señora|soy yo|tal vez|también|tampoco|todavía no|vale|ya está"
        ),
        backchannels=frozenset(
            _phrases(
                "mhm|mmhm|mm|mmm|mhmm|hmm|hm|mm hm|ajá|aja|ah|ahá|oh|vale|claro|ya|sí|si|bien|muy bien|bueno|okay|ok|"
                "okey|de acuerdo|entiendo|entendido|comprendo|perfecto|exacto|así es|ya veo|eso es|correcto|cierto|"
                "por supuesto|desde luego|ah ya|genial|qué bien|ah vale|ah bueno|claro que sí|ya entiendo"
            )
        ),
        salutations=frozenset(
            _phrases("hola|diga|dígame|sí|si|bueno|aló|mande|buenas|buenos días|buen día|buenas tardes|buenas noches")
        ),
        open_words=_listed(
            "y|e|o|pero|porque|que|si|cuando|aunque|mientras|como|eh|ehh|em|eeh|este|um|uh|a|al|de|del|en|con|por|para|"
            "sin|sobre|entre|hacia|hasta|desde|según|el|la|los|las|un|unos|unas|mi|mis|tu|tus|su|sus|nuestro|nuestra|"
            "me|te|se|lo|les|le|nos|muy|cada|ni|sino|pues"
        ),
        open_unless_stopped=_listed(
            "es|son|era|está|están|estoy|soy|somos|fue|será|sería|hay|tengo|tiene|he|ha|puedo|puede|quiero|quisiera|"
            "necesito|quería|querría|una|yo|ella|ellos|esta|ese|esa|entonces|además|más|tan|cómo|qué|cuál|dónde|luego|"
            "digamos|arroba|punto|guion|doble|triple|voy|vamos"
        ),
        holds=_phrases(
            "me llamo|mi nombre es|mi número es|mi teléfono es|mi dirección es|mi correo es|el número es|me gustaría|"
            "quisiera|a ver|déjame ver|déjeme ver|déjame pensar|déjeme pensar|espera|espere|un momento|un segundo|"
            "un segundito|un momentito|cómo se dice|o sea|por ejemplo"
        ),
        open_phrases=_phrases("no sé"),
        ones=_listed("cero|uno|una|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|doble"),
        tens=_listed(
            "diez|once|doce|trece|catorce|quince|dieciséis|diecisiete|dieciocho|diecinueve|veinte|veintiuno|veintidós|"
            "veintitrés|veinticuatro|veinticinco|veintiséis|veintisiete|veintiocho|veintinueve|treinta|cuarenta|"
            "cincuenta|sesenta|setenta|ochenta|noventa"
        ),
        words_of_one_letter=_listed("a|e|i|o|u|y"),
        number_cues=_listed(
            "número|teléfono|móvil|celular|tarjeta|cuenta|código|postal|referencia|póliza|extensión|dni|nif|nie"
        ),
        address_cues=_listed("correo|email|mail|e-mail"),
        at_signs=_listed("arroba"),
        is_at_sign_unmistakable=True,
        dots=_listed("punto"),
        complete_digits=COMPLETE_DIGITS["es"],
    ),
}


def _without_sounds(text: str) -> str:
    return _SOUND.sub(" ", text).strip()


def _cuts(words: tuple[str, ...], phrases: frozenset[tuple[str, ...]]) -> set[int]:
    """Return the places up to which `words` can be cut into `phrases`; linear for phrases of at most four words."""
    reachable = {0}
    for start in range(len(words)):
        if start in reachable:
            reachable.update(start + n for n in range(1, 5) if words[start : start + n] in phrases)
    return reachable


def _begins_one(words: tuple[str, ...], phrases: frozenset[tuple[str, ...]]) -> bool:
    return any(phrase[: len(words)] == words for phrase in phrases)


def _ends_with(words: tuple[str, ...], phrases: tuple[tuple[str, ...], ...]) -> bool:
    return any(words[-len(phrase) :] == phrase for phrase in phrases)


def _is_left_open(words: tuple[str, ...], lexicon: _Lexicon, *, is_stopped: bool) -> bool:
    """Tell whether the last words ask for more."""
    if words[-1] in lexicon.open_words or _ends_with(words, lexicon.holds):
        return True
    return not is_stopped and (words[-1] in lexicon.open_unless_stopped or _ends_with(words, lexicon.open_phrases))


def _is_name(spoken: str, words: tuple[str, ...]) -> bool:
    """Tell whether all that was said is a name: two or three capitalised words (one may just begin a sentence)."""
    return 2 <= len(words) <= 3 and all(word[:1].isupper() for word in spoken.split())


# --- dictation --------------------------------------------------------------------------------------------------
def _dictation(spoken: str, words: tuple[str, ...], lexicon: _Lexicon) -> Ending | None:
    """Return how far the dictation has come that `spoken` ends with, None where it ends with none."""
    return _dictated_address(spoken, words, lexicon) or _dictated_number(spoken, words, lexicon)


def _dictated_address(spoken: str, words: tuple[str, ...], lexicon: _Lexicon) -> Ending | None:
    written = _ADDRESS.search(spoken)
    if written is not None:
        return Ending.DICTATED if _DOMAIN.match(written[1].lower()) else Ending.DICTATING
    has_cue = not lexicon.address_cues.isdisjoint(words)
    at_sign = max((place for place, word in enumerate(words) if word in lexicon.at_signs), default=None)
    if at_sign is not None and len(words) - at_sign <= 5:
        domain = words[at_sign + 1 :]
        if len(domain) >= 3 and domain[-2] in lexicon.dots and domain[-1] in _TOP_LEVEL_DOMAINS:
            return Ending.DICTATED
        if has_cue or lexicon.is_at_sign_unmistakable or not lexicon.dots.isdisjoint(domain):
            return Ending.DICTATING
    return Ending.DICTATING if has_cue and len(words) > 2 and words[-2] in ("is", "es") else None


def _dictated_number(spoken: str, words: tuple[str, ...], lexicon: _Lexicon) -> Ending | None:
    lengths, is_numeral = _trailing_characters(spoken, lexicon)
    total = sum(lengths)
    if not total:
        return None
    if total in lexicon.complete_digits or (total == 5 and is_numeral and len(lengths) == 1):
        return Ending.DICTATED
    if not lexicon.number_cues.isdisjoint(words):
        return Ending.DICTATED if spoken.endswith(".") and total <= DICTATION_DIGITS else Ending.DICTATING
    if total == DICTATION_DIGITS and is_numeral and len(lengths) == 1:
        return None
    is_one_by_one = len(lengths) >= 2 and max(lengths) == 1
    return Ending.DICTATING if is_one_by_one or total >= DICTATION_DIGITS else None


def _trailing_characters(spoken: str, lexicon: _Lexicon) -> tuple[list[int], bool]:
    """Return how many digits or letters each of the last words stands for, last first, and whether all are numerals.

    A written year ("2025") or price is one such word; "five five one" are three of them.
    """
    lengths: list[int] = []
    is_numeral = True
    after_one = False
    last = ""
    for token in reversed([] if _HALF_DAY.search(spoken) else spoken.lower().replace("-", " ").split()):
        word = token.strip(".,;:!")
        if after_one and word == "y":
            continue
        if after_one and word in lexicon.tens and word.endswith(_JOINING):
            lengths[-1] = 2
        elif length := _characters_in(word, lexicon):
            lengths.append(length)
        else:
            break
        after_one = word in lexicon.ones
        is_numeral = is_numeral and word[-1].isdigit()
        last = word
    return (lengths[:-1] if last in lexicon.words_of_one_letter else lengths), is_numeral


def _characters_in(word: str, lexicon: _Lexicon) -> int:
    """Return how many dictated digits or letters `word` is, 0 where it is another word or a decimal number."""
    if _NUMERAL.match(word):
        digits = sum(map(str.isdigit, word))
        return digits if "." not in word or digits >= min(lexicon.complete_digits) else 0
    if word in lexicon.tens:
        return 2
    return 1 if word in lexicon.ones or (len(word) == 1 and word.isalpha()) else 0
