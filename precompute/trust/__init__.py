"""How far an atlas can be trusted: its shares, its warnings and its usual ways, each measured on the network itself."""
