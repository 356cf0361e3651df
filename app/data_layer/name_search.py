"""A search for text that is contained in a name, whatever its case, as a regular expression for PostgreSQL.

Not `ILIKE`: PostgREST turns `*` in its pattern into `%`, with no escape, and both `ILIKE` and `~*` fold only the
letters that the database's locale knows, which need not be the same in two databases. Here each letter names its own
cases, so `~` (`match` in PostgREST) finds the same rows everywhere.
"""


def containing(text: str) -> str:
    """A pattern for `~` that matches what contains `text`, with upper and lower case taken as equal.

    Letters whose other case is more than one letter (`ß`) match themselves only.
    """
    return "".join(map(_any_case, text))


def _any_case(character: str) -> str:
    lower, upper = character.lower(), character.upper()
    cases = {character, lower, upper, lower.upper(), upper.lower()}
    letters = sorted(case for case in cases if len(case) == 1)
    if len(letters) > 1:
        return f"[{''.join(letters)}]"
    if character.isspace() or character == "\ufeff":  # white space to JavaScript
        return f"[{character}]"  # some servers trim a pattern
    if character.isascii() and not character.isalnum():
        return rf"\{character}"  # a backslash makes PostgreSQL take what is no letter or digit literally
    return character
