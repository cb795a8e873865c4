"""Compare narratives by what they show, not by how their XHTML is written."""

from __future__ import annotations

from html.parser import HTMLParser

Token = tuple[str, ...]


def same_text_and_markup(sent: str, read: str) -> bool:
    """
    Tell whether two narratives are the same document.

    Entities, quotes, empty tags, the order of attributes, the namespace and a
    missing outer div make no difference; every character of the text does.
    """
    return _tokens(sent) == _tokens(read)


def same_but_blanks(sent: str, read: str) -> bool:
    """Tell whether two narratives differ at most in white space between words."""
    return _without_blanks(_tokens(sent)) == _without_blanks(_tokens(read))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tokens: list[Token] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        shown = sorted(f"{name}={value or ''}" for name, value in attrs if name != "xmlns")
        self.tokens.append(("start", tag, *shown))

    def handle_endtag(self, tag: str) -> None:
        self.tokens.append(("end", tag))

    def handle_data(self, data: str) -> None:
        if self.tokens and self.tokens[-1][0] == "text":
            data = self.tokens.pop()[1] + data
        self.tokens.append(("text", data))

    def handle_comment(self, data: str) -> None:
        self.tokens.append(("comment", data))

    def unknown_decl(self, data: str) -> None:
        self.handle_data(data.removeprefix("CDATA["))


def _tokens(xhtml: str) -> list[Token]:
    reader = _Reader()
    reader.feed(xhtml)
    reader.close()
    if not (reader.tokens and reader.tokens[0][:2] == ("start", "div")):
        return [("start", "div"), *reader.tokens, ("end", "div")]
    return reader.tokens


def _without_blanks(tokens: list[Token]) -> list[Token]:
    joined = [(one[0], " ".join(one[1].split())) if one[0] == "text" else one for one in tokens]
    return [one for one in joined if one != ("text", "")]
