"""Git credential helper that signs people in to their forge through the browser.

Where to start reading: `operations` tells what happens on `get`, `store` and `erase`; `vault` keeps what
was obtained; `flight` lets one process act for all; `recognise` and `forges` say what a host is;
`oauth` is the only code that speaks to a forge.
"""

__version__ = "0.1.0"
