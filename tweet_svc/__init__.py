"""Tweets, likes and retweets: the store of record, and the events that others build on."""
