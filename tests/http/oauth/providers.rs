//! The connections themselves, held against a provider of the tests.
