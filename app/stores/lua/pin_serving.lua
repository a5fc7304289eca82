-- Pin what serves of a memory that is pinned, and nothing else of it.
-- KEYS: 1 memory, 2 pinned. ARGV: 1 prefix of the keys of its versions
pin_serving(KEYS[1], KEYS[2], ARGV[1])
