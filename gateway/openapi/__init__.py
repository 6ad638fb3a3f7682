"""The public REST API's OpenAPI 3.1 document, generated from the protos.

`generate.py` runs it; `notes.py` holds what protos cannot say; `openapi.json` is the result, checked in
and served by the gateway.
"""
