//! Laws of one node.
