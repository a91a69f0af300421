"""Whether somebody asks not to be called any more: English and Spanish, by patterns, the same every time. Pure.

How it works: the words are taken clause by clause, without accents and punctuation. A clause asks for it where one of
the `_ASKS` of either language is found in it, unless a word shortly before turns it round ("do not take me off the
list", "no dejen de llamarme") or only speaks of it ("if I say stop calling"). What forbids a call is only believed
where nothing follows that narrows it: "do not call me before six" and "no me llames Paco" ask for something else. Both
languages are looked for in every call, because people answer in their own.

A law may count "any reasonable means" (47 CFR 64.1200(a)(10)): what no pattern has is left to the language model and
its tool `opt_out`. What is taken for it by mistake costs a call that somebody may lift the suppression of; what is
missed is an offence. So a doubtful sentence that says "again" or "any more" counts.
"""

import re
import unicodedata

from voice_agent.pipeline.endpointing import normalised

MOST_CHARS = 2_000
"""Of what was said, its end: it is looked through between two frames of sound (1.5 ms for a sentence, 10 for these)."""

_CLAUSE_END = re.compile(r"[.,;:!?¡¿…\n]+")
_SHORT_FORMS = (
    (re.compile(r"\b(do|does|did|wo|ca|could|would|should|is|are|was|have|has)n'?t\b"), r"\1 not"),
    (re.compile(r"\bwo not\b"), "will not"),
    (re.compile(r"\bca not\b|\bcannot\b"), "can not"),
    (re.compile(r"\b(i|you|we)'(d|m|ve|re|ll)\b"), r"\1 \2"),
    (re.compile(r"\b(?:why do not|would|could|can|will) you (?:please |just )*"), ""),
    (re.compile(r"\b(?:please|por favor|kindly|just)\b ?"), ""),
)
"""Rewritten first, so that the patterns have one way of saying it; a request as a question is a request."""

# --- English ----------------------------------------------------------------------------------------------------
_CALL = r"(?:call|phone|ring|contact|bother|dial|telephone|harass)"
_CALLING = r"(?:calling|phoning|ringing|contacting|bothering|dialling|dialing|harassing)"
_THEM = (
    r"(?:me|us|here|(?:this|my|our) (?:number|phone|cell|mobile|line|house|home|office)(?: number| phone)?"
    r"|my (?:mother|father|wife|husband|mom|dad|family))"
)
_AT_THIS = r"(?: (?:on|at) (?:this|my) (?:number|phone|line|cell|mobile)(?: number| phone)?| here)?+"
_AGAIN = r"(?:again|any ?more|ever(?: again)?|no more|any longer)\b"
_NARROWS_EN = (
    r"(?! (?:before|after|until|till|today|tonight|tomorrow|now|this|so|at|on|in|during|while|when|between|by|right"
    r"|unless|if|next|yet|later|too)\b)"
)
_STANDS_EN = (
    r"(?=$| (?:or|and|because|okay|ok|thanks|thank|from now|for any|for this|about|with this|with your|you|ever|it is"
    r"|it s|i m|i am|i do|i have|i said|i told|this is|we are|people|guys|i will))"
)
_STILL_STANDS_EN = _STANDS_EN[:-1] + r"| (?:every|all|constantly|like|right now|so much|already|at all hours|day)\b)"
_LIST_EN = r"(?:list|lists|database|databases|system|records|files|file|directory|contacts|call sheet|books)"
_ENGLISH = (
    # do not call me again
    rf"(?:do not|never|(?<!does )(?<!did )not)(?: you)?(?: dare)?(?: ever)?(?: to)? {_CALL}(?: back)?(?: {_THEM})?"
    rf"{_AT_THIS} {_AGAIN}{_NARROWS_EN}",
    # do not call me / do not ever call / never call this number
    rf"(?:do not|never|not to)(?: ever)? {_CALL} {_THEM}{_AT_THIS}{_STANDS_EN}",
    rf"do not ever {_CALL}{_STANDS_EN}",
    # stop calling
    rf"(?:stop|quit|cease|no more|tired of you|sick of you)(?: with)?(?: all)? {_CALLING}"
    rf"(?! (?:(?:me|us)(?: \w+)? names|him|her|them|it)\b)(?: {_THEM})?+{_AT_THIS}(?: {_AGAIN})?+{_STILL_STANDS_EN}",
    r"(?:stop|no more|enough) (?:with )?(?:the|these|your|of these|all these|those|any)? ?(?:phone |sales )?calls\b"
    rf"{_NARROWS_EN}",
    # take me off your list
    r"(?:take|taken|taking|remove|removed|removing|delete|deleted|strike|scratch|drop|get|erase|cross)"
    r" (?:me|us|my (?:name|number|phone|phone number|details|info|information)|our number|this number)(?: right)?"
    rf" (?:off|from|out of)(?: of)? (?:your|the|this|that|any|all|every|whatever)(?: \w+){{0,3}}? {_LIST_EN}",
    r"take (?:me|us|my number|this number) off$",
    r"^remove (?:me|us)$",
    r"(?:be|get) (?:removed|taken|deleted) (?:off|from|out of) (?:your|the|this|that|any|all)(?: \w+){0,3}? list",
    r"want (?:to be )?off (?:of )?(?:your|the|this|that)(?: \w+)? list",
    r"do not consent to (?:these|your|any|such) calls",
    r"(?:delete|remove|erase|lose|forget|cancel) (?:my|our|this) (?:phone )?number",
    # do not call list
    r"(?:put|add|place|get) (?:me|us|my number|this number|our number) (?:on|to|onto|in)"
    r" (?:your|the|a|that)(?: \w+)? ?(?:do not call|no call|dnc)",
    r"(?:i m|i am|we re|we are|this number is|my number is) (?:already )?on the (?:national )?do not call",
    r"^do not call(?: list)?$",
    # I do not want calls
    r"(?:do not|no longer|not) (?:want|wish|care|like) (?:to (?:get|receive|have) )?(?:any more|anymore|any|more|your"
    r"|these|further|any further|sales)?(?: \w+)? ?calls\b"
    rf"{_NARROWS_EN}",
    rf"(?:do not|no longer|not) (?:want|wish|like) (?:you )?(?:people )?to (?:be (?:called|contacted|bothered|phoned)"
    rf"|{_CALL} (?:me|us)|hear from you)(?: {_AGAIN})?{_NARROWS_EN}",
    r"do not want (?:you|anyone|anybody|your company|you guys) (?:people )?(?:calling|phoning|contacting|bothering)"
    rf" (?:me|us|here|this number){_NARROWS_EN}",
    # opting out
    r"(?:want|like|wish|need|prefer|how (?:do|can) i|i would) (?:to )?(?:opt out|unsubscribe|be unsubscribed)",
    r"(?:opt|unsubscribe) (?:me|us)\b",
    r"^(?:opt out|unsubscribe|opting out|i opt out|i m opting out|i am opting out)$",
    r"(?:revoke|withdraw|take back|withdrawing|revoking) (?:my|our) (?:consent|permission)",
    r"do not have (?:my|our) (?:consent|permission) to call",
    r"leave (?:me|us) alone",
)

# --- Spanish ----------------------------------------------------------------------------------------------------
_LLAMEN = (
    r"(?:llam(?:e|en|es|eis)|molest(?:e|en|es|eis)|contact(?:e|en|es|eis)|marqu(?:e|en|es|eis)|telefone(?:e|en|es|eis)"
    r"|busqu(?:e|en|es|eis)|hable(?:n|s|is)?|fastidi(?:e|en|es|eis))"
)
_LLAMAR = r"(?:llamar|molestar|contactar|marcar|telefonear|fastidiar)(?:me|nos|le|lo)?"
_VUELVAN = r"(?:vuelva|vuelvan|vuelvas|volvais|vuelvais)"
_AQUI = r"(?: (?:a|en) (?:este|mi) (?:numero|telefono|movil|celular|casa)(?: de telefono)?| a mi casa| aqui| a casa)?+"
_MAS = r"(?:mas|nunca(?: mas)?|jamas|otra vez|de nuevo|nunca jamas|ya)\b"
_NARROWS_ES = (
    r"(?! (?:antes|despues|hasta|hoy|ahora|manana|esta|este|tan|a las|a esta|a esa|por la|por las|al|el|los|en|durante"
    r"|cuando|mientras|tarde|temprano|todavia|aun|si|tanto|tantas|entre|de noche|de madrugada|de dia|para|desde)\b)"
)
_STANDS_ES = (
    r"(?=$| (?:y|o|porque|que no|que ya|gracias|vale|ok|para nada|para ofrecer|para vender|ni|se lo|os lo|te lo|lo digo"
    r"|ustedes|eh|estoy|no quiero|no me interesa))"
)
_LISTA = (
    r"(?:lista|listas|listado|listados|base|bases|registro|registros|sistema|contactos|fichero|ficheros|archivo"
    r"|archivos|agenda|directorio|campana)"
)
_QUITEN = (
    r"(?:quit|borr|elimin|retir|bor|remuev|tach)(?:e|en|a|ad|ar|eis)|(?:saqu(?:e|en|eis)|saca|sacad|sacar|supriman"
    r"|suprima|suprimir)|de(?:n)? de baja|dar de baja"
)
_QUITENME = (
    r"(?:(?:quit|borr|elimin|retir|remuev|tach)(?:e|en|a|ad|ar|eis)|saque|saquen|saca|sacad|sacar|suprima|suprimir)"
    r"(?:me|nos|lo)"
)
_NO_QUIERO = r"no (?:quiero|deseo|queremos|deseamos|autorizo|acepto|consiento|permito|me interesa)"
_SPANISH = (
    # no me llamen más
    rf"no (?:me |nos |le |lo )?{_LLAMEN}{_AQUI} {_MAS}{_AQUI}{_NARROWS_ES}",
    rf"(?:ya no|nunca|jamas|nunca mas)(?: me| nos)?(?: vuelva a| vuelvan a)? (?:{_LLAMEN}|{_LLAMAR}){_AQUI}"
    rf"(?: {_MAS})?+{_STANDS_ES}",
    rf"no (?:me|nos) {_LLAMEN}{_AQUI}{_STANDS_ES}",
    rf"no {_LLAMEN} (?:a este numero|a este telefono|a mi casa|aqui|a mi numero|mas){_NARROWS_ES}",
    rf"no (?:me |nos |se )?(?:{_VUELVAN} a|atrevan a|atreva a|sigan|siga|sigas) (?:llamando|molestando|{_LLAMAR})"
    rf"{_AQUI}(?: {_MAS})?{_NARROWS_ES}",
    rf"no (?:{_LLAMAR}|volver a {_LLAMAR}){_AQUI}(?: {_MAS}|(?<=ver a llamar)|(?<=ver a llamarme)){_NARROWS_ES}",
    rf"no (?:me|nos) (?:llama|contacta|molesta)(?:ra|ran|se|sen) {_MAS}{_NARROWS_ES}",
    # dejen de llamar
    rf"(?:dej(?:e|en|a|ad|es|eis)|par(?:e|en|a|ad)|ces(?:e|en)) (?:ya )?de (?:una vez de )?(?:{_LLAMAR}){_AQUI}"
    rf"{_NARROWS_ES}",
    r"(?:dejen|deje|deja|dejad)(?:me|nos) (?:en paz|tranquil[oa]s?|de llamar|de molestar)",
    r"(?:me|nos) (?:deje|dejen|dejan|deja|dejas|dejeis) (?:ya )?(?:en paz|de llamar|de molestar)",
    # no quiero que me llamen
    rf"{_NO_QUIERO} que (?:me |nos )?(?:{_VUELVAN} a {_LLAMAR}|sigan (?:llamando|molestando)(?:me|nos)?"
    rf"|{_LLAMEN}{_AQUI} {_MAS}){_AQUI}(?: {_MAS})?+{_NARROWS_ES}",
    rf"{_NO_QUIERO} que (?:me |nos ){_LLAMEN}{_AQUI}{_STANDS_ES}",
    rf"{_NO_QUIERO}(?: seguir)?(?: recibir| recibiendo)?(?: (?:mas|ninguna|sus|estas|otra|tus|vuestras|este tipo de"
    rf"|otras))*+ llamadas?(?: (?:mas|suyas|comerciales|de ustedes))*+{_NARROWS_ES}",
    r"no (?:quiero|deseo) (?:que me |ser )(?:contactad[oa]|llamad[oa]|molestad[oa])",
    r"(?:ni una|no mas|ninguna|basta de|ya basta de|se acabaron las|paren las|paren con las) llamadas?(?: mas)?"
    rf"{_NARROWS_ES}",
    r"basta (?:ya )?de (?:llamar|molestar)(?:me|nos)?",
    # quítenme de la lista
    rf"(?:{_QUITENME}|denme de baja|deme de baja|dame de baja|dadme de baja|darme de baja|me (?:quit|borr|elimin)"
    rf"(?:a|an|as|en|e|es)|me sac(?:a|an|as)|me saquen|me saque|me (?:den|de|dan|da|das) de baja) (?:ya )?(?:de|del|en)"
    rf"(?: \w+){{0,3}}? {_LISTA}",
    rf"(?:me|nos) (?:puede|pueden|podria|podrian|puedes|podeis|podrias) (?:{_QUITEN})(?: de baja)?",
    rf"(?:puede|pueden|podria|podrian|puedes|podeis|quiero|quisiera|deseo|necesito) (?:{_QUITENME}|darme de baja)",
    r"(?:quiero|quisiera|deseo|solicito|exijo) (?:que me (?:den|des|de) )?(?:la )?(?:de )?baja\b",
    r"^(?:denme de baja|deme de baja|dame de baja|dadme de baja|baja|darme de baja|quitenme de ahi|borrenme)$",
    rf"(?:{_QUITEN}) (?:de baja )?(?:mi|este|nuestro|mis|a mi|el) (?:numero|telefono|nombre|datos)(?: de telefono)?"
    r"(?! (?:de )?(?:cuenta|pedido|tarjeta))",
    r"^(?:borr|elimin)(?:e|en|a|ad)(?:me|nos)$",
    r"como (?:me doy|puedo darme|hago para darme|me puedo dar) de baja",
    r"que me (?:quit|borr|elimin|sac)(?:ara|aran|aras|ase|asen) de",
    r"(?:quiero|exijo|pido|solicito|les pido|le pido) que (?:me |nos )(?:quiten|borren|saquen|eliminen|retiren|quite"
    r"|borre|saque|elimine|retire|quites|borres)",
    r"(?:apunt|pon|pong|inscrib|anot|met)(?:e|en|a|an|ad)me (?:en|a) (?:la|su|una) lista (?:robinson|de no llamar"
    r"|de exclusion|negra)",
    r"(?:estoy|estamos) (?:apuntad[oa]s? |inscrit[oa]s? |dad[oa] de alta )?(?:en|a) (?:la )?lista robinson",
    r"(?:revoco|retiro|anulo|quito) (?:mi|el) (?:consentimiento|permiso|autorizacion)",
    r"olvid(?:e|en|a|ad)(?:se|te|os)? (?:de )?(?:mi|este) (?:numero|telefono)",
    r"no (?:tienen|tiene|teneis|tienes) (?:mi )?(?:permiso|consentimiento|autorizacion) para llamar",
)

_ASKS = tuple(re.compile(pattern) for pattern in (*_ENGLISH, *_SPANISH))

_TURNS_ROUND = re.compile(
    r"\b(?:not|never|did you|have you|has|had|why|if|unless|without|before|when|whether|nobody|who|what happens"
    r"|does that|did i|do i|is this|only"
    r"|no|nunca|si|cuando|sin|antes de|por que|acaso|han|has|ha|quien|aunque|nadie|solo|decia|significa)\b"
)
"""Before what would ask for it, and in the same breath, any of these means that it is not asked for."""

_BREATH = re.compile(
    r"\b(?:so|and|but|then|because|now|(?<!never )(?<!not )said|told|listen|already|hello|sorry|interested|thanks|hey"
    r"|no no|y|pero|asi que|porque|entonces|que si|(?<!no )he dicho|ya|pues|oiga|mire|por lo tanto|interesa|gracias)\b"
)
"""Where a new thought begins within a clause."""

_WORDS_BEFORE = 5

_ELSEWHERE = re.compile(
    r"^(?:i (?:will|ll) call you|call|text|email|e mail|send|try|write|i call you|use"
    r"|llam(?:e|en|a|ame|eme|enme)|escrib|mand|yo (?:les|le|os|te) llamo|les llamo|le llamo|envi"
    r"|ya (?:les|le|te) llamo)"
)
"""How the clause after "do not call me" begins where it only means another way or another time."""

_SAYS_FOR_EVER = re.compile(r"\b(?:again|any ?more|ever|never|mas|nunca|jamas|vuelv\w*|list\w*|baja)\b")


def find(text: str) -> str:
    """Return the clause of `text` in which somebody asks not to be called any more; empty where nobody does."""
    clauses = [clause for part in _CLAUSE_END.split(text[-MOST_CHARS:]) if (clause := _plain(part))]
    for clause, following in zip(clauses, [*clauses[1:], ""], strict=False):
        if _asks(clause) and (_SAYS_FOR_EVER.search(clause) or not _ELSEWHERE.match(following)):
            return clause
    return ""


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", normalised(text))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    for written, rewritten in _SHORT_FORMS:
        plain = written.sub(rewritten, plain)
    return " ".join(plain.replace("'", " ").split())


def _asks(clause: str) -> bool:
    return any(not _is_turned_round(clause[: found.start()]) for each in _ASKS for found in each.finditer(clause))


def _is_turned_round(before: str) -> bool:
    """Whether what stands before a request takes it back."""
    breath = _BREATH.split(before)[-1]
    return bool(_TURNS_ROUND.search(" ".join(breath.split()[-_WORDS_BEFORE:])))
