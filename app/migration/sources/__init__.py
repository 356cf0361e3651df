"""Where rows come from: what the engine asks of a source, whatever it is."""
