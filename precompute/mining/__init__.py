"""Rankings and statistics over samples. Must not know words, language models, config or folders."""
