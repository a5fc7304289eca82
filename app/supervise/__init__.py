"""`lorekeep up`: every part on this machine, under supervisord."""
