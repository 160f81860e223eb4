//! People with an account: rules and rows.
