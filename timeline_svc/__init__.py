"""Home timelines and user timelines, and the fan-out that keeps them warm."""
