//! Owns `/user`: what is shown of a person, and to whom.
