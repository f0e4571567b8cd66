"""`git credential-forge demo`: a small forge, a stand-in for a browser, and the story that they tell. An island."""
