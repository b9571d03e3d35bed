"""The language all parts speak: events on the wire, generation state, errors, names. No I/O."""
