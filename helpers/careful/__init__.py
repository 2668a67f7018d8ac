"""What keeps learners safe and what they need not read: checks, own files, the Hub, going on after a stop, tables."""
