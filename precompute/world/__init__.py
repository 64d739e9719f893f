"""The built-in world: scenes whose every part is known, its network, its truth. Must not know the stages' order."""
