"""The trigger kinds: one file is one kind, named by the manifest's word. Found here and by entry point."""
