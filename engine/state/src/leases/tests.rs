//! Laws of the leases.
