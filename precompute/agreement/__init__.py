"""Agreement with zennit-crp: the same photos through both, in float64. The only room that may know zennit and crp."""
