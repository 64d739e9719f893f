"""HDF5 in and out: the only module that imports h5py. The contract is `docs/format.md`."""
# interface (being implemented):
#   FORMAT_VERSION = 1
#   write_atlas(path: Path, atlas: Atlas) -> None                      atomic
#   read_atlas(path: Path) -> Atlas                                   StoreError where missing/truncated/other version
#   write_references(path: Path, references: Iterable[Reference], provenance: dict) -> None
#   class ReferenceReader(path): context manager; .provenance; .concepts() -> list[Concept];
#         .read(concept: Concept, ranking: Ranking) -> list[Reference]   by rank
