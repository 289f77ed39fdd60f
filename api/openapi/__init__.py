"""The API's own description: OpenAPI 3.1, and a page to read it.

Each route says next to its handler what it takes and answers (`operation`); `document` makes one JSON document of
that and of the shapes on the wire, when it is first asked for.
"""
