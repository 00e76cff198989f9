"""Patterns of ECMA-262 with the u flag, as JSON Schema means them, in the syntax of the library's engine.

Nothing is guessed: what the engine could read in another way is written out, and what it cannot do is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inlake.formats.reasons import Place

MAX_NESTING = 100
"""Groups in each other."""
Range = tuple[int, int]
_LAST = 0x10FFFF
_NEVER = r"[^\u{0}-\u{10FFFF}]"
_SYNTAX = frozenset("^$\\.*+?()[]{}|")
_CONTROLS = {"f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_LINE_ENDS = ((10, 10), (13, 13), (0x2028, 0x2029))
_WORD = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE = (
    *((9, 13), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_SETS: dict[str, Sequence[Range]] = {"d": ((0x30, 0x39),), "w": _WORD, "s": _SPACE}
_LETTER = "[0-9A-Za-z_]"
_EDGES = {
    "b": f"(?:(?<={_LETTER})(?!{_LETTER})|(?<!{_LETTER})(?={_LETTER}))",
    "B": f"(?:(?<={_LETTER})(?={_LETTER})|(?<!{_LETTER})(?!{_LETTER}))",
}
_QUANTIFIER = re.compile(r"(?:([*+?])|\{([0-9]{1,9})(,([0-9]{0,9}))?\})\??")
_OPENING = re.compile(r"\((?:\?(?::|<?[=!]|<([A-Za-z_$][A-Za-z0-9_$]*)>))?(?!\?)")
_NUMBER = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{0*([0-9a-fA-F]{1,6})\}|c([A-Za-z])|(0)(?![0-9])")
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_PROPERTY = re.compile(r"([pP])\{(?:(General_Category|gc|Script|sc|Script_Extensions|scx)=)?([A-Za-z_]+)\}")
_BACK = re.compile(r"k<([^>]*)>|([1-9][0-9]{0,8})")
_CATEGORIES = frozenset(  # the values of General_Category
    """
    C Other Cc Control cntrl Cf Format Cn Unassigned Co Private_Use Cs Surrogate L Letter LC Cased_Letter Ll
    Lowercase_Letter Lm Modifier_Letter Lo Other_Letter Lt Titlecase_Letter Lu Uppercase_Letter M Mark
    Combining_Mark Mc Spacing_Mark Me Enclosing_Mark Mn Nonspacing_Mark N Number Nd Decimal_Number digit Nl
    Letter_Number No Other_Number P Punctuation punct Pc Connector_Punctuation Pd Dash_Punctuation Pe
    Close_Punctuation Pf Final_Punctuation Pi Initial_Punctuation Po Other_Punctuation Ps Open_Punctuation S
    Symbol Sc Currency_Symbol Sk Modifier_Symbol Sm Math_Symbol So Other_Symbol Z Separator Zl Line_Separator Zp
    Paragraph_Separator Zs Space_Separator
    """.split()  # noqa: SIM905  one a line would be a page
)
_BINARY = frozenset(  # properties without a value
    """
    ASCII ASCII_Hex_Digit AHex Alphabetic Alpha Any Assigned Bidi_Control Bidi_C Bidi_Mirrored Bidi_M
    Case_Ignorable CI Cased Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM Changes_When_Lowercased
    CWL Changes_When_Titlecased CWT Changes_When_Uppercased CWU Dash Default_Ignorable_Code_Point DI Deprecated
    Dep Diacritic Dia Emoji Emoji_Component EComp Emoji_Modifier EMod Emoji_Modifier_Base EBase
    Emoji_Presentation EPres Extended_Pictographic ExtPict Extender Ext Grapheme_Base Gr_Base Grapheme_Extend
    Gr_Ext Hex_Digit Hex IDS_Binary_Operator IDSB IDS_Trinary_Operator IDST ID_Continue IDC ID_Start IDS
    Ideographic Ideo Join_Control Join_C Logical_Order_Exception LOE Lowercase Lower Math
    Noncharacter_Code_Point NChar Pattern_Syntax Pat_Syn Pattern_White_Space Pat_WS Quotation_Mark QMark Radical
    Regional_Indicator RI Sentence_Terminal STerm Soft_Dotted SD Terminal_Punctuation Term Unified_Ideograph
    UIdeo Uppercase Upper Variation_Selector VS White_Space space XID_Continue XIDC XID_Start XIDS
    """.split()  # noqa: SIM905  one a line would be a page
)


class NotEcma(Exception):
    """The pattern is none of ECMA-262 with the u flag, or one that cannot be translated; the text says why."""

    place: Place = None
    """Where in a schema the pattern stands."""


def translate(pattern: str) -> str:
    """The pattern in the syntax of the library's engine. `NotEcma`."""
    reader = _Reader(pattern)
    translated = reader.alternatives(0)
    if reader.rest():
        raise reader.wrong("this bracket closes nothing")
    return translated


class _Reader:
    """Where the translation of a pattern has come to."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0
        self.names: dict[str, int] = {}
        self.sure: frozenset[int] = frozenset()
        """The groups that have matched whenever the engine comes here: a reference to another is empty in ECMA-262,
        and fails in the engine."""
        self.behind = 0

    def rest(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def wrong(self, why: str) -> NotEcma:
        return NotEcma(f"at character {self.at + 1}: {why}")

    def taken(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        """The match of the expression here; the place is behind it then."""
        found = expression.match(self.pattern, self.at)
        if found:
            self.at = found.end()
        return found

    def alternatives(self, depth: int) -> str:
        """All up to a closing bracket or the end."""
        if depth > MAX_NESTING:
            raise self.wrong(f"more than {MAX_NESTING} groups are in each other")
        before, parts = self.sure, [self.sequence(depth)]
        while self.rest() == "|":
            self.at += 1
            self.sure = before
            parts.append(self.sequence(depth))
        if len(parts) > 1:
            self.sure = before
        return "|".join(parts)

    def sequence(self, depth: int) -> str:
        parts: list[str] = []
        while self.rest() and self.rest() not in "|)":
            before = self.sure
            atom, repeatable = self.atom(depth)
            quantifier = self.taken(_QUANTIFIER) if repeatable else None
            if quantifier:
                self.sure = before
                if quantifier[4] and int(quantifier[4]) < int(quantifier[2]):
                    raise self.wrong("the numbers of this repetition are out of order")
            parts.append(atom + (quantifier[0] if quantifier else ""))
        return "".join(parts)

    def atom(self, depth: int) -> tuple[str, bool]:
        """The next part, and whether it may be repeated."""
        sign = self.rest()
        if sign == "(":
            return self.group(depth)
        if sign in "*+?{":
            raise self.wrong("there is nothing to repeat (a brace is written \\{)")
        if sign == "]":
            raise self.wrong("this bracket closes nothing (it is written \\])")
        if sign == "\\":
            return self.escape()
        self.at += 1
        if sign == "[":
            return self.set(), True
        if sign == ".":
            return _written(_LINE_ENDS, [], "^"), True
        return (sign, False) if sign in "^$" else (_literal(sign), True)

    def group(self, depth: int) -> tuple[str, bool]:
        opening = self.taken(_OPENING)
        if not opening:
            raise self.wrong("ECMA-262 has no such group")
        kind, before, number = opening[0], self.sure, 0
        if kind == "(" or opening[1]:
            self.groups += 1
            number = self.groups
            if opening[1] in self.names:
                raise self.wrong(f"two groups are named {opening[1]}")
            kind = "("
        if opening[1]:
            self.names[opening[1]] = number
        behind = kind in ("(?<=", "(?<!")
        self.behind += behind
        inner = self.alternatives(depth + 1)
        self.behind -= behind
        if self.rest() != ")":
            raise self.wrong("a bracket is not closed")
        self.at += 1
        if behind or kind == "(?!":
            self.sure = before
        elif number:
            self.sure |= {number}
        return f"{kind}{inner})", kind in ("(", "(?:")

    def escape(self) -> tuple[str, bool]:
        """A backslash outside of square brackets, and what belongs to it."""
        start = self.at
        self.at += 1
        back = self.taken(_BACK)
        if back:
            number = int(back[2]) if back[2] else self.names.get(back[1], 0)
            if number not in self.sure or self.behind:
                self.at = start
                raise self.wrong("this refers to a group that is repeated, may be left out, or is not there yet")
            return f"(?:\\{number})", True
        sign = self.rest()
        if sign in _EDGES:
            self.at += 1
            return _EDGES[sign], False
        found = self.character(start)
        if isinstance(found, int):
            return (_NEVER if _is_half(found) else _literal(chr(found))), True
        return (found if isinstance(found, str) else _written(found, [], "")), True

    def character(self, start: int) -> int | str | Sequence[Range]:
        """The meaning of an escape sequence anywhere: a character's number, a property, or a set of characters."""
        property_ = self.taken(_PROPERTY)
        if property_:
            return self.property(property_, start)
        number = self.taken(_NUMBER)
        if number:
            return self.number(number, start)
        sign = self.rest()
        self.at += 1
        if sign in _CONTROLS:
            return _CONTROLS[sign]
        if sign.lower() in _SETS:
            ranges = _SETS[sign.lower()]
            return ranges if sign.islower() else _others(ranges)
        if not sign or sign.isalnum() or not sign.isascii():
            self.at = start
            raise self.wrong(f"\\{sign} means nothing in ECMA-262 with the u flag")
        return ord(sign)

    def property(self, found: re.Match[str], start: int) -> str:
        sign, kind, name = found.groups()
        if kind in ("General_Category", "gc") or (kind is None and name in _CATEGORIES):
            kind = "gc"
        # the engine knows the scripts, but takes their names in any case
        known = name in _CATEGORIES if kind == "gc" else name[0].isupper() if kind else name in _BINARY
        if not known:
            self.at = start
            raise self.wrong(f"ECMA-262 knows no property {name}")
        return f"\\{sign}{{{kind + '=' if kind else ''}{name}}}"

    def number(self, found: re.Match[str], start: int) -> int:
        if found[4]:
            return ord(found[4]) % 32
        number = int(found[1] or found[2] or found[3] or "0", 16)
        if number > _LAST:
            self.at = start
            raise self.wrong("there is no such character")
        if found[2] and 0xD800 <= number < 0xDC00:
            low = self.taken(_LOW)
            if low:
                return 0x10000 + ((number - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        return number

    def set(self) -> str:
        """A set of characters, behind its opening square bracket."""
        sign = "^" if self.rest() == "^" else ""
        self.at += len(sign)
        ranges: list[Range] = []
        properties: list[str] = []
        while self.rest() != "]":
            first = self.member()
            last = first
            if self.rest() == "-" and self.pattern[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                last = self.member()
                if not isinstance(first, int) or not isinstance(last, int) or first > last:
                    raise self.wrong("this is no range of characters (a hyphen is written \\-)")
            if isinstance(first, int) and isinstance(last, int):
                ranges.append((first, last))
            elif isinstance(first, str):
                properties.append(first)
            elif not isinstance(first, int):
                ranges += first
        self.at += 1
        return _written(ranges, properties, sign)

    def member(self) -> int | str | Sequence[Range]:
        """A character, property or set inside of square brackets."""
        sign = self.rest()
        if not sign:
            raise self.wrong("a square bracket is not closed")
        start = self.at
        self.at += 1
        if sign != "\\":
            return ord(sign)
        if self.rest() == "b":
            self.at += 1
            return 8
        return self.character(start)


def _is_half(number: int) -> bool:
    """Whether a number is half of a pair of UTF-16, which no text has alone."""
    return 0xD800 <= number <= 0xDFFF


def _literal(sign: str) -> str:
    return f"\\{sign}" if sign in _SYNTAX else sign


def _others(ranges: Sequence[Range]) -> Sequence[Range]:
    """All characters but those in ranges that are sorted."""
    starts = [0, *(last + 1 for _, last in ranges)]
    ends = [*(first - 1 for first, _ in ranges), _LAST]
    return [(first, last) for first, last in zip(starts, ends, strict=True) if first <= last]


def _written(ranges: Sequence[Range], properties: list[str], sign: str) -> str:
    """A set of characters for the engine, which knows no halves of pairs."""
    parts = list(properties)
    for first, last in ranges:
        for low, high in ((first, min(last, 0xD7FF)), (max(first, 0xE000), last)):
            if low <= high:
                parts.append(_one(low) if low == high else f"{_one(low)}-{_one(high)}")
    if not parts:
        return r"[\u{0}-\u{10FFFF}]" if sign else _NEVER
    return f"[{sign}{''.join(parts)}]"


def _one(number: int) -> str:
    return chr(number) if chr(number).isalnum() else f"\\u{{{number:X}}}"
