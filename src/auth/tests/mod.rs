//! Claims about who is let in.
