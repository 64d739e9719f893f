"""Reads a tagged PDF as a screen reader would: its structure, in order, with the text of each element."""

import re
from dataclasses import dataclass, field

import pikepdf


@dataclass
class Element:
    """One element of the structure: its tag, alternative text, attributes, own text and children, in order."""

    tag: str
    alt: str
    scope: str
    parts: list = field(default_factory=list)

    @property
    def text(self):
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def walk(self):
        yield self
        for part in self.parts:
            if not isinstance(part, str):
                yield from part.walk()


def structure(pdf):
    """Return the root of the structure of an open PDF."""
    texts = {page.obj.objgen: _marked_text(page) for page in pdf.pages}
    return _element(pdf.Root.StructTreeRoot, texts, None)


def _element(node, texts, page):
    page = node.get("/Pg", page)
    attributes = node.get("/A", [])
    listed = attributes if isinstance(attributes, pikepdf.Array) else [attributes]
    scope = next(
        (str(item["/Scope"]) for item in listed if isinstance(item, pikepdf.Dictionary) and "/Scope" in item), ""
    )
    found = Element(str(node.get("/S", "")), str(node.get("/Alt", "")), scope)
    children = node.get("/K", [])
    for child in children if isinstance(children, pikepdf.Array) else [children]:
        if isinstance(child, pikepdf.Dictionary) and "/S" in child:
            found.parts.append(_element(child, texts, page))
        elif isinstance(child, pikepdf.Dictionary) and "/MCID" in child:
            found.parts.append(texts[child.get("/Pg", page).objgen].get(int(child["/MCID"]), ""))
        elif not isinstance(child, pikepdf.Dictionary):
            found.parts.append(texts[page.objgen].get(int(child), ""))
    return found


def _marked_text(page):
    fonts = {name: _letters(font) for name, font in page.Resources.get("/Font", {}).items()}
    texts, stack, letters = {}, [], {}
    for operands, operator in pikepdf.parse_content_stream(page):
        match str(operator):
            case "BDC":
                listed = operands[1] if isinstance(operands[1], pikepdf.Dictionary) else {}
                stack.append(int(listed["/MCID"]) if "/MCID" in listed else None)
            case "BMC":
                stack.append(None)
            case "EMC":
                stack.pop()
            case "Tf":
                letters = fonts[str(operands[0])]
            case "Tj" | "TJ":
                key = next((item for item in reversed(stack) if item is not None), None)
                strings = operands[0] if str(operator) == "TJ" else operands
                for item in strings:
                    if isinstance(item, pikepdf.String):
                        texts[key] = texts.get(key, "") + _decoded(bytes(item), letters)
    return texts


def _decoded(codes, letters):
    return "".join(letters.get(codes[at : at + 2], "?") for at in range(0, len(codes), 2))


def _letters(font):
    table = bytes(font["/ToUnicode"].read_bytes()).decode("latin-1")
    pairs = re.findall(r"<([0-9A-Fa-f]{4})>\s*<([0-9A-Fa-f]+)>\s*\n", table)
    return {bytes.fromhex(code): bytes.fromhex(text).decode("utf-16-be") for code, text in pairs}
