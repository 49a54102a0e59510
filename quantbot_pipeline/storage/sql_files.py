"""SQL lives in files; this module finds, reads and splits them.

Queries are `sql/<database>/queries/<topic>/<verb>_<noun>.sql` and are named `<topic>/<verb>_<noun>`.
"""

import re
from functools import cache
from typing import Literal

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.project_files import project_file

Database = Literal["postgres", "clickhouse"]

_QUERY_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)+")

# One token that may hold a semicolon without ending a statement, or that ends it.
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<end> ; )
    | (?P<text> [^-/'"`;]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


@cache
def load_sql(database: Database, name: str) -> str:
    """Return the text of a query; files are read once per process.

    Args:
        database: Whose query it is.
        name: `<topic>/<verb>_<noun>`.

    Raises:
        ConfigError: the name is not of that form, or there is no such file.
    """
    if not _QUERY_NAME.fullmatch(name):
        raise ConfigError(f"query name {name!r} is not of the form topic/verb_noun")
    return project_file(f"sql/{database}/queries/{name}.sql").read_text(encoding="utf-8").strip()


def split_statements(sql: str) -> list[str]:
    """Return the statements of a ClickHouse file, without their semicolons, in order.

    Semicolons inside quotes and comments end nothing. Parts that hold only comments and blanks are left out.
    """
    statements: list[str] = []
    parts: list[str] = []
    holds_code = False
    for token in _TOKEN.finditer(sql):
        if token.lastgroup == "end":
            if holds_code:
                statements.append("".join(parts).strip())
            parts = []
            holds_code = False
            continue
        parts.append(token.group())
        holds_code = holds_code or (token.lastgroup != "comment" and not token.group().isspace())
    if holds_code:
        statements.append("".join(parts).strip())
    return statements
