"""A key of a language model as a hostile server might echo it."""

import base64
import codecs


def _in_groups(text, size, joint=" "):
    return joint.join(text[start : start + size] for start in range(0, len(text), size))


def disguises_of(key):
    """Return thirty and more ways to write a key, by what they are called."""
    in_base64 = base64.b64encode(key.encode()).decode()
    return {
        "plain": key,
        "upper": key.upper(),
        "reversed": key[::-1],
        "spaced": " ".join(key),
        "dashes": "-".join(key),
        "lines": "\n".join(key),
        "zero width": "\u200b".join(key),
        "soft hyphens": "\u00ad".join(key),
        "bidirectional": f"\u202e{key[::-1]}\u202c",
        "full width": "".join(chr(ord(character) + 0xFEE0) for character in key),
        "combining": "\u0301".join(key),
        "braille blanks": "\u2800".join(key),
        "hangul fillers": "\u3164".join(key),
        "surrogates": "\ud800".join(key),
        "base64": in_base64,
        "base64 url": base64.urlsafe_b64encode(key.encode()).decode(),
        "base64 shifted": base64.b64encode(f"xx{key}".encode()).decode(),
        "base64 of a header": base64.b64encode(f"Authorization: Bearer {key}".encode()).decode(),
        "base64 reversed": in_base64[::-1],
        "base64 split": _in_groups(in_base64, 5),
        "base32": base64.b32encode(key.encode()).decode(),
        "hexadecimal": key.encode().hex(),
        "hexadecimal with colons": key.encode().hex(":").upper(),
        "percent": "".join(f"%{byte:02x}" for byte in key.encode()),
        "entities": "".join(f"&#{ord(character)};" for character in key),
        "hexadecimal entities": "".join(f"&#x{ord(character):x};" for character in key),
        "escapes": "".join(f"\\u{ord(character):04x}" for character in key),
        "byte escapes": "".join(f"\\x{ord(character):02x}" for character in key),
        "rot13": codecs.encode(key, "rot13"),
        "decimal codes": " ".join(str(ord(character)) for character in key),
        "octal codes": " ".join(f"{ord(character):o}" for character in key),
        "first half": f"it starts with {key[:13]}",
        "second half": f"it ends in {key[-12:]}",
        "two quoted halves": f'"{key[:14]}" and "{key[14:]}"',
    }
