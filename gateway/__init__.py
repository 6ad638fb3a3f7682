"""What the edge cannot do itself: accounts, tokens, public keys, API documentation."""
