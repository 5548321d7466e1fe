"""What bin/audit.py does: a module a command."""
