"""The local mesh: engines, topology, supervisor and the `starling` command."""
