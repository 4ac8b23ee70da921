"""Where steps run: in this thread, in threads, in processes, or wherever a plug-in takes them."""
