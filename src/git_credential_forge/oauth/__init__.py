"""OAuth 2 for native apps (RFC 6749, 7636, 8252). Nothing outside this package speaks HTTP."""
