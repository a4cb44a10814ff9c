//! Laws of the sequencer.
