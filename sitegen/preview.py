"""One page, made anew in seconds, to look at it while its code or template is worked on: ``make dev``.

Owns the command line of it. The page gets a site of its own, in which links to other pages lead nowhere.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from precompute.errors import AtlasError
from sitegen.build import SiteOptions, build_site


def main(arguments: list[str] | None = None) -> int:
    """Make the pages that match and write their addresses to the standard output; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sitegen.preview", description=__doc__)
    parser.add_argument("atlas", type=Path, help="folder of a finished atlas, for example data/world")
    parser.add_argument("page", help="address or shell pattern, for example concepts/features-28-c83.html")
    parser.add_argument(
        "--site", type=Path, default=Path("build/preview"), help="folder to make (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    try:
        build_site(chosen.site, chosen.atlas, SiteOptions(name=f"preview of {chosen.atlas.name}", only=chosen.page))
    except AtlasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for path in sorted(chosen.site.glob(chosen.page)):
        sys.stdout.write(f"{path.resolve().as_uri()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
