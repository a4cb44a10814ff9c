//! Laws of the checks before the log.
