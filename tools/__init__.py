"""What start.py hands over to: set-up, doctor, packs, running and publishing."""
