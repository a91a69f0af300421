"""Whether words are the greeting of an answering machine: English and Spanish, by phrases that no person answers with.

Pure. The carrier's detection has the last word; it comes when the greeting is over, and until then nobody should talk
with it. So these phrases only make the agent wait for that verdict.
"""

import re
import unicodedata

from voice_agent.pipeline.endpointing import normalised

_GREETING = re.compile(
    r"\b(?:(?:at|after|following) the (?:tone|beep|signal)|leave (?:me |us )?(?:a|your) (?:brief |short |detailed )?"
    r"(?:message|name)(?: and number)?|voice ?mail(?:box)?|mailbox (?:of|is full|belonging)"
    r"|answering (?:machine|service)|(?:is|am|are) (?:not available|unavailable)(?: right now)?(?: to take your call)?"
    r"|(?:can not|cannot|can't|unable to) (?:take|answer|come to) (?:your call|the phone)"
    r"|has been forwarded|record your message|person you (?:are calling|have called|are trying to reach)"
    r"|(?:despues|luego) de (?:oir )?la senal|al oir la senal|tras la senal|despues del (?:tono|bip|pitido)"
    r"|(?:deje|deja|dejen|dejar|dejenos|dejeme|dejame|grabe) (?:me |nos )?(?:un|su|tu) (?:breve |recado|mensaje)"
    r"|buzon de voz|buzon de mensajes|contestador(?: automatico)?|no (?:puedo|podemos) (?:atender|contestar)(?:le|te)?"
    r"|no se encuentra disponible|no esta disponible en este momento|apagado o fuera de cobertura"
    r"|(?:telefono|numero|persona) (?:al que|que|a la que|con la que) (?:llama|ha llamado|usted marco|intenta))\b"
)


def is_greeting(text: str) -> bool:
    """Tell whether these are words of a machine that asks for a message, or says that somebody is not there."""
    decomposed = unicodedata.normalize("NFD", normalised(text))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return _GREETING.search(plain) is not None
