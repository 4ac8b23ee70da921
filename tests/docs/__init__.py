"""The documentation, kept true: its commands are run, its code is executed, its references are compared."""
