"""How values are shown to a reader: numbers, colours, tables. Must not know what they are of."""
