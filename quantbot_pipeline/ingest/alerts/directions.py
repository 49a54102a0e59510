"""What a person's words say about a token they name: an entry unless they sell it, or warn of it.

The words are English and whole. Addresses, links, tickers (`$SELL`), tags (`#sell`) and names (`@seller`) are no words.

1. A warning is no call: don't buy, never buy, avoid, scam, rug, rugged, honeypot; not where it is denied (`not a scam`,
   `no rug`, `rug check`, `honeypot: no`).
2. A sale is a sell that exits: sell, selling, sold, exit, exiting, exited, take profit, taking profits, tp hit,
   close my position. Beside a word of buying it counts only before that word and among the first `OPENING_WORDS`
   words (`bought 1 SOL, will sell at 2x` is an entry). Not where it is denied, conditional or another's
   (`not selling`, `don't sell`, `if they sell`, `dev sold`), nor where it is a thing (`sell wall`, `sell tax`,
   `exit liquidity`).
3. Everything else that names a token is an entry.
"""

import re
from typing import NamedTuple

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.alerts.addresses import BREAK, search_text
from quantbot_pipeline.ingest.alerts.links import find_links
from quantbot_pipeline.ingest.alerts.records import WARNING, RowRefusal

OPENING_WORDS = 3
"""A word of selling among that many first words counts, though a word of buying follows."""

_LONGEST_TEXT = 20_000
_NO_WORDS = re.compile(r"[$#@][A-Za-z0-9_]+|[A-Za-z0-9]{32,}|(?<![A-Za-z0-9])(?:https?|www)[^ \n]+")
_NO = r"(?:not|no|never|isn't|isnt|wasn't|wasnt|won't|wont|can't|cant|cannot|anti|zero)"
_WARNING = re.compile(
    r"\b(?:(?:don't|dont|do[ ]+not|never)[ ]+buy|avoid)\b"
    rf"|(?<!\w)(?<!-)(?:({_NO})[ ]+(?:(?:a|an|been|get|getting|any|be)[ ]+)?)?"
    r"\b(?:scam|rug|rugged|honeypot)\b(?!-)(?![ ]*(?:check|checked|proof|risk|score)\b)"
    r"(?![ ]*[:?=][ ]*(?:no\b|false\b|❌|✅))"
)
_SALE = re.compile(
    r"\b(?:sell|selling|sold|exit|exiting|exited|tak(?:e|ing)[ ]+profits?|took[ ]+profits?|tp[ ]+hit"
    r"|closed?[ ]+my[ ]+position)\b(?!-)"
    r"(?![ ]*(?:walls?|pressure|tax|taxes|sides?|orders?|limits?|volume|liquidity|strategy|plan|targets?|out|offs?"
    r"|the[ ]+news)\b)(?![ ]*[:/])"
)
_NOT_MINE = re.compile(
    r"(?:\b(?:not|never|no|nobody|don't|dont|didn't|didnt|won't|wont|can't|cant|cannot|haven't|havent|isn't|isnt|without"
    r"|will|would|could|might|may|if|when|until|before|devs?|whales?|snipers?|insiders?|jeets?|they|he|she|who|everyone"
    r"|people|holders?)[ ]+(?:(?:going[ ]+to|[a-z']+)[ ]+)?|n't[ ]+|/)$"
)
_BUYING = re.compile(
    r"\b(?:buy|buying|bought|ape|aping|aped|entry|enter|entering|entered|long|longing|gamble|gambled)\b"
)
_WORD = re.compile(r"[A-Za-z0-9']+")


class Direction(NamedTuple):
    """What the words of a message ask for."""

    side: Side
    signal_type: SignalType


ENTRY = Direction(Side.BUY, SignalType.ENTRY)
EXIT = Direction(Side.SELL, SignalType.EXIT)


def direction_of_words(text: str) -> Direction:
    """Return what a person's message asks for of the tokens that it names.

    Raises:
        RowRefusal: it warns of them.
    """
    spaced = search_text(text[:_LONGEST_TEXT]).replace(BREAK, " ").replace("\u2019", "'")
    without_links, links = find_links(spaced)
    words = _NO_WORDS.sub(" ", without_links if links else spaced)
    words = re.sub(r"[ \t]+", " ", words.casefold())
    for match in _WARNING.finditer(words):
        if match[1] is None:
            raise RowRefusal("message", f"{WARNING} ({match[0].strip()!r})")
    buying = _BUYING.search(words)
    for match in _SALE.finditer(words):
        before = words[: match.start()]
        if _NOT_MINE.search(before[-80:]):
            continue
        is_opening = len(_WORD.findall(before[:400])) < OPENING_WORDS
        if buying is None or (is_opening and match.start() < buying.start()):
            return EXIT
    return ENTRY
