"""States and provinces as addresses name them: by name, code or postal code, to ISO 3166-2. Pure.

Of the countries that have rule packs: US, Spain, Mexico. Spain's provinces are told by their autonomous community,
which is what zones and holidays go by. Sources: ISO 3166-2:2020; USPS Publication 28, appendix B, and its table of
three-digit ZIP prefixes (labelling list L002); Correos' provinces by the first two digits of a postal code; SEPOMEX' of
Mexico's codes.
"""

import re
from bisect import bisect_right
from functools import lru_cache

import phonenumbers

from voice_agent.contacts.words import folded

COUNTRIES = ("ES", "US", "MX")

_NO_LETTER = re.compile(r"[^a-z0-9]+")

_US = (
    "AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware|"
    "DC District of Columbia|DC Washington DC|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|"
    "KS Kansas|KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|MS Mississippi|"
    "MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey|NM New Mexico|NY New York|"
    "NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania|RI Rhode Island|"
    "SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia|WA Washington|"
    "WV West Virginia|WI Wisconsin|WY Wyoming|PR Puerto Rico|GU Guam|VI Virgin Islands|AS American Samoa"
)
_MX = (
    "AGU Aguascalientes|BCN Baja California|BCS Baja California Sur|CAM Campeche|CHP Chiapas|CHH Chihuahua|"
    "CMX Ciudad de Mexico|CMX CDMX|CMX Distrito Federal|CMX DF|COA Coahuila|COA Coahuila de Zaragoza|COL Colima|"
    "DUR Durango|GUA Guanajuato|GRO Guerrero|HID Hidalgo|JAL Jalisco|MEX Estado de Mexico|MEX Mexico|MEX Edomex|"
    "MIC Michoacan|MIC Michoacan de Ocampo|MOR Morelos|NAY Nayarit|NLE Nuevo Leon|OAX Oaxaca|PUE Puebla|QUE Queretaro|"
    "ROO Quintana Roo|SLP San Luis Potosi|SIN Sinaloa|SON Sonora|TAB Tabasco|TAM Tamaulipas|TLA Tlaxcala|VER Veracruz|"
    "VER Veracruz de Ignacio de la Llave|YUC Yucatan|ZAC Zacatecas"
)
_ES = (
    "AN Andalucia,Almeria,Cadiz,Cordoba,Granada,Huelva,Jaen,Malaga,Sevilla,Seville|AR Aragon,Huesca,Teruel,Zaragoza|"
    "AS Asturias,Principado de Asturias,Oviedo|CN Canarias,Islas Canarias,Canary Islands,Las Palmas,Gran Canaria,"
    "Santa Cruz de Tenerife,Tenerife,Lanzarote,Fuerteventura,La Palma,La Gomera,El Hierro,Las Palmas de Gran Canaria|"
    "CB Cantabria,Santander|CM Castilla La Mancha,Albacete,Ciudad Real,Cuenca,Guadalajara,Toledo|"
    "CL Castilla y Leon,Castilla Leon,Avila,Burgos,Leon,Palencia,Salamanca,Segovia,Soria,Valladolid,Zamora|"
    "CT Cataluna,Catalunya,Catalonia,Barcelona,Girona,Gerona,Lleida,Lerida,Tarragona|"
    "EX Extremadura,Badajoz,Caceres|GA Galicia,A Coruna,La Coruna,Coruna,Lugo,Ourense,Orense,Pontevedra|"
    "IB Baleares,Islas Baleares,Illes Balears,Balears,Balearic Islands,Mallorca,Menorca,Ibiza,Eivissa|"
    "RI La Rioja,Rioja,Logrono|MD Madrid,Comunidad de Madrid|MC Murcia,Region de Murcia|"
    "NC Navarra,Comunidad Foral de Navarra,Nafarroa,Pamplona|"
    "PV Pais Vasco,Euskadi,Basque Country,Alava,Araba,Bizkaia,Vizcaya,Gipuzkoa,Guipuzcoa|"
    "VC Comunidad Valenciana,Comunitat Valenciana,Valencia,Alicante,Alacant,Castellon,Castello|CE Ceuta|ML Melilla"
)

_ES_POSTAL = "PVCMVCANCLEXIBCTCLEXANVCCMANGACMCTANCMPVANARANCLCTRIGAMDANMCNCGAASCLCNGACLCNCBCLANCLCTARCMVCCLPVCLARCEML"
"""Two letters each, by the first two digits of the code, from 01."""

_US_POSTAL = (
    "005 NY|006 PR|008 VI|009 PR|010 MA|028 RI|030 NH|039 ME|050 VT|055 MA|056 VT|060 CT|070 NJ|090 ?|100 NY|"
    "150 PA|197 DE|200 DC|201 VA|202 DC|206 MD|220 VA|247 WV|270 NC|290 SC|300 GA|320 FL|340 ?|341 FL|350 AL|370 TN|"
    "386 MS|398 GA|400 KY|430 OH|460 IN|480 MI|500 IA|530 WI|550 MN|569 DC|570 SD|580 ND|590 MT|600 IL|630 MO|660 KS|"
    "680 NE|700 LA|716 AR|730 OK|733 TX|734 OK|750 TX|800 CO|820 WY|832 ID|834 ID|840 UT|850 AZ|870 NM|885 TX|889 NV|"
    "900 CA|962 ?|967 HI|969 GU|970 OR|980 WA|995 AK"
)
"""The first prefix of three digits of each run; `?` are the armed forces, who may be anywhere."""

_MX_POSTAL = (
    "00 CMX|20 AGU|21 BCN|23 BCS|24 CAM|25 COA|28 COL|29 CHP|31 CHH|34 DUR|36 GUA|39 GRO|42 HID|44 JAL|50 MEX|58 MIC|"
    "62 MOR|63 NAY|64 NLE|68 OAX|72 PUE|76 QUE|77 ROO|78 SLP|80 SIN|83 SON|86 TAB|87 TAM|90 TLA|91 VER|97 YUC|98 ZAC"
)

_COUNTRY_NAMES = (
    "ES Espana,Spain,Espagne,ESP|US Estados Unidos,United States,United States of America,USA,EEUU,EE UU,U S A,U S|"
    "MX Mexico,Mejico,MEX|PT Portugal,PRT|FR Francia,France,FRA|IT Italia,Italy,ITA|DE Alemania,Germany,DEU|"
    "GB Reino Unido,United Kingdom,UK,Great Britain,Inglaterra,England,GBR|IE Irlanda,Ireland|AD Andorra|"
    "AR Argentina,ARG|BO Bolivia|BR Brasil,Brazil,BRA|CA Canada,CAN|CL Chile,CHL|CO Colombia,COL|CR Costa Rica|CU Cuba|"
    "DO Republica Dominicana,Dominican Republic|EC Ecuador|SV El Salvador|GT Guatemala|HN Honduras|NI Nicaragua|"
    "PA Panama|PY Paraguay|PE Peru,PER|PR Puerto Rico|UY Uruguay|VE Venezuela|NL Paises Bajos,Netherlands,Holanda|"
    "BE Belgica,Belgium|CH Suiza,Switzerland|AT Austria|PL Polonia,Poland|RO Rumania,Romania|MA Marruecos,Morocco"
)


def _names(entries: str) -> dict[str, str]:
    """Return code by name, of `CODE name,name|CODE name`; a code is a name of itself."""
    names: dict[str, str] = {}
    for entry in entries.split("|"):
        code, _, listed = entry.partition(" ")
        names[code.lower()] = code
        names.update((_plain(name), code) for name in listed.split(","))
    return names


def _plain(text: str) -> str:
    return _NO_LETTER.sub(" ", folded(text)).strip()


_REGIONS = {"US": _names(_US), "MX": _names(_MX), "ES": _names(_ES)}
_COUNTRY_CODES = _names(_COUNTRY_NAMES)


def _runs(entries: str) -> tuple[list[int], list[str]]:
    pairs = [entry.split() for entry in entries.split("|")]
    return [int(prefix) for prefix, _ in pairs], [code for _, code in pairs]


_US_RUNS = _runs(_US_POSTAL)
_MX_RUNS = _runs(_MX_POSTAL)


@lru_cache(maxsize=4_096)
def country_of(text: str) -> str:
    """Return the ISO 3166 code of a country by its code or its name; empty where it is not known."""
    plain = _plain(text)
    if len(plain) == 2 and plain.upper() in phonenumbers.SUPPORTED_REGIONS:
        return plain.upper()
    return _COUNTRY_CODES.get(plain, "")


@lru_cache(maxsize=4_096)
def region_of(text: str, country: str) -> str:
    """Return the ISO 3166-2 code of a state or province by its name or code; empty where it is not known.

    What was asked is remembered, for a file has few: ask for at most 100 characters.
    """
    plain = _plain(text)
    code = plain.removeprefix(f"{country.lower()} ")
    found = _REGIONS.get(country, {}).get(code)
    if found is None and country == "ES":
        # "Alicante/Alacant", "Coruña, A": the first of the names.
        found = _REGIONS["ES"].get(_plain(re.split(r"[/,(]", text)[0]))
    return f"{country}-{found}" if found else ""


def region_of_postal_code(text: str, country: str) -> str:
    """Return the region of a postal code; empty where it is not known. A zero that a spreadsheet took is put back."""
    digits = text.strip().partition("-")[0]
    if not digits.isdecimal() or not 3 <= len(digits) <= 5:
        return ""
    digits = digits.zfill(5)
    if country == "ES":
        province = int(digits[:2])
        found = _ES_POSTAL[2 * province - 2 : 2 * province] if province else ""
        return f"ES-{found}" if found else ""
    if country in ("US", "MX"):
        starts, codes = _US_RUNS if country == "US" else _MX_RUNS
        place = bisect_right(starts, int(digits[:3] if country == "US" else digits[:2]))
        found = codes[place - 1] if place else "?"
        return "" if found == "?" else f"{country}-{found}"
    return ""
