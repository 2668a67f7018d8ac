"""What keeps learners safe and what they need not read: own files, the Hub, going on after a stop."""
