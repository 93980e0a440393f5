"""Copies of a platform's runs where people keep theirs: experiment trackers, a chat, a mailbox."""
