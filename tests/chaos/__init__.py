"""`make chaos`: posts and reads while processes are killed, stopped, emptied and starved, and then a check
in the manner of Jepsen's set test. See docs/chaos.md.
"""
