"""Whether a stage is done: the one answer for every product of every stage.

Owns when a product counts as made and what is told of a damaged one. Must not know how a product is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from precompute.atlas.digests import digest_of
from precompute.atlas.folder import Workspace
from precompute.progress import Reporter


class Step:
    """One product: what it depends on, and whether it is there.

    It is done where it was made by the same settings from the same bytes, and its own files are as they were written.

    Parameters
    ----------
    workspace : Workspace
    reporter : Reporter
        Is told of damage.
    name : str
        Of the product.
    command : str
        Makes it, for example ``atlas name``.
    depends : mapping of str to JSON-ready values
        Settings and versions that decide what is made.
    made_from : iterable of str
        Names of the products that it is made from; another content of one of them makes it anew.
    """

    def __init__(
        self,
        workspace: Workspace,
        reporter: Reporter,
        name: str,
        command: str,
        depends: Mapping[str, object],
        made_from: Iterable[str] = (),
    ) -> None:
        self.name = name
        self._manifest, self._reporter, self._command = workspace.manifest, reporter, command
        self._depends, self._made_from = dict(depends), tuple(made_from)

    @property
    def is_noted(self) -> bool:
        """Whether it was made of the same as there is now, be it whole or not."""
        product = self._manifest.products.get(self.name)
        return product is not None and product.state == self._state()

    def is_done(self) -> bool:
        """Tell whether it was made of the same as there is now and is whole; damage is told."""
        if not self.is_noted:
            return False
        damage = self._manifest.damage(self.name)
        if damage and self.name not in self._manifest.told:
            self._manifest.told.add(self.name)
            more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
            self._reporter.say(f"damaged   {damage[0]}{more}: `{self._command}` makes it again")
        return not damage

    def finish(self, *files: Path) -> None:
        """Note that it is done, and its files as they are now."""
        self._manifest.finish(self.name, self._command, self._state(), files, self._sources())

    def begin(self, *files: Path) -> None:
        """Note files that are whole, though the product has to be made anew."""
        self._manifest.finish(self.name, self._command, "", files, self._sources())

    def _state(self) -> str:
        return digest_of([self._depends, self._sources()])

    def _sources(self) -> dict[str, str]:
        return self._manifest.digests(*self._made_from)
