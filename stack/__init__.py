"""The local mesh: engines, topology, supervisor and the `starling` command."""

import sys
from pathlib import Path

# The wheel that brings the Envoy program has a module called `envoy` too, and a console script
# searches site-packages before the checkout: ours must be found first.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
