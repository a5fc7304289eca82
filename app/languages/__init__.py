"""Which language a text is in, where it leaves it, and how often: pure rules, no model of ours and no network."""
