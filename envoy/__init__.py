"""Configuration of the edge and of every sidecar, rendered from one source.

`spec` says where everything is, `policy` who may call what; `rendering.render` writes the files.
"""

from envoy.rendering import render as render
