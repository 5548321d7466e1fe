"""What bin/privacy.py does: a module a command."""
